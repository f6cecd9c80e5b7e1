"""Checks of chapter 8's exercises."""

import torch

from . import Hint, call, exercise


@exercise("8.1")
def _(answer):
    for g, H, K in [(1, 12, 4), (0, 6, 2), (3, 4, 4), (0, 4, 1), (2, 12, 3)]:
        G = H // K
        right = list(range(g * G, (g + 1) * G))
        got = list(call(answer, g, H, K))
        if got == right:
            continue
        shown = f"heads_that_ask({g}, {H}, {K}) should be {right}, yours says {got}. "
        if got == list(range(g, H, K)):
            raise Hint(shown + "You deal the heads out in turn, as `repeat` would. The heads of a group are neighbours.")
        if got == list(range(g * K, min((g + 1) * K, H))):
            raise Hint(shown + f"{K} is the number of groups, not the size of one: a group has H / K = {G} heads.")
        if got == [g // G]:
            raise Hint(shown + "That takes g for a query head and names its group. Here the group is given.")
        if len(got) != G:
            raise Hint(shown + f"A group has H / K = {G} heads, and yours has {len(got)}.")
        raise Hint(shown + f"There are {g} groups of {G} heads before it.")


@exercise("8.2")
def _(answer):
    cases = [(75_497_472, 3, 1024, 12, 96, 64, 4), (10**9, 1, 1024, 12, 12, 64, 4), (1000, 1, 1024, 12, 12, 64, 4),
             (5 * 3 * 98_304, 3, 256, 2, 8, 48, 2), (7 * 2 * 2 * 100 * 3 * 16 * 2, 2, 100, 3, 12, 16, 2)]
    for case in cases:
        nbytes, B, S, L, H, D, size = case

        def best(one_head):
            return max([K for K in range(1, H + 1) if H % K == 0 and K * one_head <= nbytes], default=0)

        one = 2 * L * B * S * D * size
        right, got = best(one), call(answer, *case)
        if got == right:
            continue
        shown = f"most_kv_heads{case} should be {right}, yours says {got}. "
        if got == nbytes // one:
            more = "a model has at most one for each query head" if got > H else f"{H} heads cannot be cut into {got} groups"
            raise Hint(shown + f"So many heads would fit, but {more}.")
        if got == min(nbytes // one, H):
            raise Hint(shown + f"{got} heads would fit, but {H} heads cannot be cut into {got} groups.")
        if right and got == H // right:
            raise Hint(shown + "That is the size of a group. The number of key/value heads is asked for.")
        for factor, words in ((2, "Keys and values are both kept."), (L, f"Each of the {L} layers has a cache of its own."),
                              (B, f"Each of the {B} texts has a cache of its own."),
                              (size, f"Memory is counted in bytes, and a number takes {size} of them.")):
            if factor > 1 and got == best(one // factor):
                raise Hint(shown + words)
        if isinstance(got, int) and got > 0 and H % got == 0 and got * one > nbytes:
            raise Hint(shown + f"Those heads take {got * one} bytes, more than there are.")
        raise Hint(shown + f"One key/value head takes {one} bytes in all.")


@exercise("8.3")
def _(answer):
    generator = torch.Generator().manual_seed(0)
    for H, K, D, E in [(6, 2, 4, 5), (6, 3, 2, 12), (4, 1, 3, 12), (4, 4, 2, 8)]:
        G = H // K
        weight = torch.randn(H * D, E, generator=generator, dtype=torch.float64)
        saved = weight.clone()
        got = call(answer, weight, K, D)
        if not torch.equal(weight, saved):
            raise Hint("You changed the weights that were given to you. Make new ones.")
        where = f"With H = {H}, K = {K}, D = {D} and E = {E}, "
        if tuple(got.shape) == (K, D, E):
            raise Hint(where + f"the result should be ({K * D}, {E}), with the heads below each other. Flatten the first two axes.")
        if tuple(got.shape) != (K * D, E):
            raise Hint(where + f"the result should have the shape ({K * D}, {E}), yours has {tuple(got.shape)}.")
        heads = weight.view(H, D, E)
        right = torch.cat([heads[g * G:(g + 1) * G].sum(dim=0) / G for g in range(K)])
        if torch.allclose(got, right):
            continue
        wrong = [(torch.cat([heads[g::K].sum(dim=0) / G for g in range(K)]),
                  "You averaged every K-th head. The heads of a group are neighbours: 0 to G - 1, then G to 2 G - 1."),
                 (weight.view(K * D, G, E).mean(dim=1),
                  "You averaged neighbouring rows. A row belongs to one of the D numbers of a head; average row d of one "
                  "head with row d of the others."),
                 (right * G, "Those are sums. Divide by G."),
                 (torch.cat([heads[g * G] for g in range(K)]), "That is the first head of each group, not their mean.")]
        for numbers, words in wrong:
            if torch.allclose(got, numbers):
                raise Hint(where + "the numbers differ from the mean. " + words)
        raise Hint(where + f"the numbers differ. Row 0 should be the mean of the rows {[h * D for h in range(G)]} of the weights.")


@exercise("8.4")
def _(answer):
    from gptbook.kv_cache import MultiHeadAttention  # here, since gptbook may still be loading when the checks are registered

    D = 5
    for order, bias in [([2, 0, 3, 1], False), ([0, 4, 2, 5, 1, 3], True), ([0, 1], True)]:
        H, E = len(order), D * len(order)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = MultiHeadAttention({"vocab_size": 9, "context_length": 8, "emb_dim": E, "n_heads": H, "n_layers": 1,
                                        "qkv_bias": bias}).double().eval()
            x = torch.randn(2, 7, E, dtype=torch.float64)
        where = f"With order = {order} and {'biases' if bias else 'no bias'}, "
        saved = {name: t.clone() for name, t in layer.state_dict().items()}
        got = call(answer, layer, list(order))
        if any(not torch.equal(t, saved[name]) for name, t in layer.state_dict().items()):
            raise Hint(where + "you changed the layer that was given to you. Make a new one.")
        if type(got) is not MultiHeadAttention:
            raise Hint(where + f"return a MultiHeadAttention, not a {type(got).__name__}.")
        with torch.no_grad():
            old, new, right, rows = layer.project(x), got.project(x), layer(x), got(x)
        inverse = [order.index(h) for h in range(H)]
        for name, before, after in zip(("queries", "keys", "values"), old, new, strict=True):
            if torch.allclose(after, before[:, order]):
                continue
            if torch.allclose(after, before[:, inverse]):
                raise Hint(where + f"old head i of the {name} went to place order[i]. It is the other way round: "
                           "place i gets the old head order[i].")
            if torch.allclose(after, before):
                raise Hint(where + f"the {name} are in their old order. A head moves with its query, its key and its value.")
            raise Hint(where + f"place i of the {name} does not hold the old head order[i]. A head is D = {D} rows of its third "
                       "of the projection, and the same numbers of the bias where there is one.")
        if torch.allclose(rows, right):
            continue
        weight = saved["out_proj.weight"]
        if torch.equal(got.out_proj.weight, weight):
            raise Hint(where + "the heads are in their new order, but out_proj reads them in the old one, and the rows differ.")
        if torch.equal(got.out_proj.weight, weight.unflatten(0, (H, D))[order].flatten(0, 1)):
            raise Hint(where + "you moved the rows of out_proj's weight (E, E). Its rows are what comes out; its columns are what "
                       "it reads.")
        raise Hint(where + "the heads are in their new order, but the rows differ: look at the columns of out_proj's weight, and "
                   "leave its bias as it is.")


@exercise("8.5")
def _(answer):
    from gptbook.gpt_gqa import GroupedQueryAttention
    from gptbook.kv_cache import MultiHeadAttention

    for H, K, bias, dtype in [(6, 2, False, torch.float64), (6, 3, True, torch.float64), (4, 1, True, torch.float32),
                              (4, 4, False, torch.float64)]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            cfg = {"vocab_size": 9, "context_length": 32, "emb_dim": 8 * H, "n_heads": H, "n_layers": 1, "qkv_bias": bias}
            layer = GroupedQueryAttention({**cfg, "num_kv_groups": K}).to(dtype).eval()
            x = torch.randn(2, 7, 8 * H, dtype=dtype)
        where = f"With H = {H}, K = {K} and {'biases' if bias else 'no bias'}, "
        saved = {name: t.clone() for name, t in layer.state_dict().items()}
        got = call(answer, layer)
        if any(not torch.equal(t, saved[name]) for name, t in layer.state_dict().items()):
            raise Hint(where + "you changed the layer that was given to you. Make a new one.")
        if type(got) is not MultiHeadAttention:
            raise Hint(where + f"return a MultiHeadAttention, not a {type(got).__name__}.")
        if got.qkv.weight.dtype != dtype:
            raise Hint(where + f"the layer is of {dtype} and yours of {got.qkv.weight.dtype}.")
        if (got.qkv.bias is not None) != bias:
            raise Hint(where + "the new projection must have a bias exactly if the old one has: take over qkv_bias.")
        tolerance = 1e-9 if dtype == torch.float64 else 1e-5
        with torch.no_grad():
            right, rows = layer(x), got(x)
            if torch.allclose(rows, right, atol=tolerance):
                cache = got.new_cache(2, 7)
                cached = torch.cat([got(part, cache) for part in x.split([4, 1, 2], dim=1)], dim=1)
                if not torch.allclose(cached, right, atol=tolerance):
                    raise Hint(where + "the rows are right without a cache and wrong with one.")
                continue
        q, k, v = layer.qkv.weight.split([8 * H, 8 * K, 8 * K])
        E = 8 * H
        for name, own, old in (("queries", got.qkv.weight[:E], q), ("output projection", got.out_proj.weight, layer.out_proj.weight)):
            if not torch.equal(own, old):
                raise Hint(where + f"the weights of the {name} are not the old ones. They stay as they are.")
        tiled = torch.cat([t.repeat(H // K, 1) for t in (k, v)])
        by_rows = torch.cat([t.repeat_interleave(H // K, dim=0) for t in (k, v)])
        if torch.equal(got.qkv.weight[E:], tiled):
            raise Hint(where + "the key heads lie in the order 0, 1, 0, 1. Query heads 0 and 1 are neighbours and share head 0: "
                       "repeat_interleave, not repeat.")
        if torch.equal(got.qkv.weight[E:], by_rows):
            raise Hint(where + "you repeated single rows. A head is D rows; cut the rows into heads first, then repeat the heads.")
        right_kv = torch.cat([t.unflatten(0, (K, 8)).repeat_interleave(H // K, dim=0).flatten(0, 1) for t in (k, v)])
        if not torch.equal(got.qkv.weight[E:], right_kv):
            raise Hint(where + "the rows for keys and values are not the old heads, each G times.")
        raise Hint(where + "the weights are right, but the rows differ. Were the biases, of both projections, repeated and copied too?")
