"""Checks of chapter 8's exercises."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

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


class _Largest(TorchDispatchMode):
    """The size in numbers of the largest result with memory of its own."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in known:
                self.numbers = max(self.numbers, t.numel())
        return out


@exercise("8.4")
def _(answer):
    from gptbook.gpt_gqa import grouped_attention  # here, since gptbook may still be loading when the checks are registered

    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    for H, K, T, S in [(6, 2, 1, 9), (6, 2, 3, 9), (6, 3, 9, 9), (4, 4, 2, 5), (4, 1, 4, 7)]:
        q, k, v = random(2, H, T, 8), random(2, K, S, 8), random(2, K, S, 8)
        got = call(answer, q, k, v)
        where = f"With H = {H}, K = {K}, T = {T} and S = {S}, "
        if tuple(got.shape) == (2, K, H // K * T, 8) != (2, H, T, 8):
            raise Hint(where + f"the rows are still folded, {tuple(got.shape)}. Give them back the shape (2, {H}, {T}, 8).")
        if tuple(got.shape) != (2, H, T, 8):
            raise Hint(where + f"the result should have the shape (2, {H}, {T}, 8), yours has {tuple(got.shape)}.")
        right = grouped_attention(q, k, v)
        if torch.allclose(got, right):
            continue
        G = H // K
        tiled = grouped_attention(q, *(t.repeat(1, G, 1, 1) for t in (k, v)))
        if torch.allclose(got, tiled):
            raise Hint(where + "query head 1 asks key head 1, as if the key heads were tiled. Its group is 0: neighbours share.")
        last = torch.allclose(got[:, :, -1], right[:, :, -1])
        errors = (got - right).abs().amax(dim=(0, 2, 3))
        if last and T > 1:
            raise Hint(where + "the last token's rows are right and earlier ones are not: they see their future, or less than "
                       "their past. Which keys may token i of the chunk see?")
        if errors[-1] < 1e-9 and errors[0] > 1e-9:
            raise Hint(where + "the last head of each group is right and the others are not: the mask takes the heads of a group "
                       "for later tokens. Every head of the group needs the mask of the chunk.")
        interleaved = torch.ones(T, S, dtype=torch.bool).tril(S - T).repeat_interleave(G, dim=0)
        mixed = torch.nn.functional.scaled_dot_product_attention(q.reshape(2, K, G * T, 8), k, v, attn_mask=interleaved)
        if torch.allclose(got, mixed.reshape(2, H, T, 8)):
            raise Hint(where + "the mask has each token's row G times in a row, but the rows of q go token by token through one "
                       "head and then through the next.")
        raise Hint(where + "the rows differ from grouped_attention's. Row g T + i of a group is token i of its head g.")
    q, k, v = random(1, 8, 2, 16), random(1, 2, 400, 16), random(1, 2, 400, 16)
    with _Largest() as watch:
        call(answer, q, k, v)
    if watch.numbers >= k.numel():
        raise Hint(f"The numbers are right, but a new tensor of {watch.numbers} numbers was made, where the keys have "
                   f"{k.numel()}: keys and values were copied. Fold the queries instead.")


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
