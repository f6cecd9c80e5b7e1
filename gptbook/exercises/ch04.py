"""Checks of chapter 4's exercises."""

import torch

from ..kv_cache import KVCache, MultiHeadAttention
from . import Hint, call, exercise


@exercise("4.1")
def _(answer):
    for P, N in [(5, 2), (1, 4), (10, 7), (5, 1)]:
        right = sum(P + i for i in range(N)) - (P + N - 1)
        got = call(answer, P, N)
        if got == right:
            continue
        shown = f"read_again({P}, {N}) should be {right}, yours says {got}. "
        if got == right + P + N - 1:
            raise Hint(shown + "You counted all readings. The first time that each token is read is not a repetition.")
        if got == right + P + N:
            raise Hint(shown + "You have one step too many: the last new token is written and never read.")
        if got == P * (N - 1):
            raise Hint(shown + "Each later step reads the prompt again, and also the new tokens written before it.")
        raise Hint(shown + "Write down for each step how many tokens it reads, and how many of them are new to it.")


@exercise("4.2")
def _(answer):
    for nbytes, B, L, E, size in [(75_497_472, 1, 12, 768, 4), (1_000_000, 3, 4, 192, 2), (1_000, 1, 1, 768, 4)]:
        token = 2 * B * L * E * size
        got, right = call(answer, nbytes, B, L, E, size), nbytes // token
        if got == right:
            continue
        shown = (f"positions_that_fit({nbytes}, {B}, {L}, {E}, {size}) should be {right}, yours says {got}. ")
        slips = [(2, "A position is kept twice, once as a key and once as a value."),
                 (L, f"Each of the {L} layers has a cache of its own."),
                 (size, f"Memory is counted in bytes, and a number takes {size} of them."),
                 (B, f"Each of the {B} sequences of the batch has its own keys and values.")]
        for factor, words in slips:
            if factor > 1 and got in (nbytes * factor // token, nbytes * factor / token):
                raise Hint(shown + words)
        if got == nbytes / token:
            raise Hint(shown + "A position fits wholly or not at all, so the result is an integer.")
        if got == right + 1:
            raise Hint(shown + f"{got} positions take {got * token} bytes, which is more than there are.")
        raise Hint(shown + f"One position takes {token} bytes in all layers together.")


@exercise("4.3")
def _(answer):
    for length, T, max_length in [(4, 1, 8), (0, 3, 3), (2, 3, 8), (5, 3, 8)]:
        got = call(answer, length, T, max_length)
        where = f"block_mask({length}, {T}, {max_length})"
        if tuple(got.shape) != (T, max_length):
            raise Hint(f"{where} should have the shape ({T}, {max_length}): one row for each new token and one column "
                       f"for each place of the block, filled or not. Yours has {tuple(got.shape)}.")
        seen = got.bool()
        for i in range(T):
            for j in range(max_length):
                may = j <= length + i
                if bool(seen[i, j]) == may:
                    continue
                if may and j == length + i:
                    raise Hint(f"In {where}, query {i} stands at place {j} and may look at itself. Yours forbids it.")
                if may:
                    raise Hint(f"In {where}, query {i} stands at place {length + i} and may look at place {j}, which "
                               "was filled before. Yours forbids it: did you shift the triangle by length?")
                if j >= length + T:
                    raise Hint(f"In {where}, only places 0 to {length + T - 1} are filled. Query {i} looks at place "
                               f"{j}, which is empty.")
                raise Hint(f"In {where}, query {i} stands at place {length + i} and looks at place {j}, which is in "
                           "its future.")
        if got.dtype != torch.bool:
            raise Hint(f"The right places, but as {got.dtype}. scaled_dot_product_attention would add such numbers to "
                       "the scores; a mask of permissions is of torch.bool.")


@exercise("4.4")
def _(answer):
    torch.manual_seed(0)
    attention = MultiHeadAttention({"vocab_size": 9, "context_length": 32, "emb_dim": 8, "n_heads": 2, "n_layers": 1})
    attention = attention.double().eval()
    x = torch.randn(2, 11, 8, dtype=torch.float64)
    with torch.no_grad():
        for before, size in [(0, 11), (0, 4), (3, 4)]:
            cache = attention.new_cache(2, 16)
            if before:
                attention(x[:, :before], cache)
            T = 11 - before
            got = call(answer, attention, x[:, before:], cache, size)
            state = f"With {before} positions cached, {T} new ones and size {size}, "
            if tuple(got.shape) == (2, T - T % size, 8) and T % size:
                raise Hint(state + f"you returned {got.shape[1]} rows of {T}: the shorter chunk at the end is missing.")
            if tuple(got.shape) != (2, T, 8):
                raise Hint(state + f"the result should have the shape (2, {T}, 8), one row for each position. Yours "
                           f"has {tuple(got.shape)}.")
            whole, alone = attention(x)[:, before:], attention(x[:, before:])
            wrong = [i for i in range(T) if not torch.allclose(got[:, i], whole[:, i], atol=1e-9)]
            if cache.length == 0 or cache.length == before != 11:
                raise Hint(state + f"the cache holds {cache.length} positions afterwards: it was not used.")
            if before and torch.allclose(got, alone, atol=1e-9):
                raise Hint(state + "your rows are those of a text that begins with x: the earlier positions were "
                           "forgotten. Do not reset the cache.")
            if wrong:
                raise Hint(state + f"the first wrong row is row {wrong[0]} (chunk {wrong[0] // size}). Does that chunk "
                           "see those before it?")
            if cache.length != 11:
                raise Hint(state + f"the cache should hold 11 positions afterwards, and it holds {cache.length}.")


@exercise("4.5")
def _(answer):
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        cache = KVCache(1, 2, 8, 4, dtype=dtype)
        cache.update(*torch.randn(2, 1, 2, 3, 4).to(dtype))
        keys, values = cache.keys.clone(), cache.values.clone()
        new = call(answer, cache, 5)
        if new is cache:
            raise Hint("You returned the old cache. Make a new one, and leave the old as it is.")
        if tuple(new.keys.shape) != (5, 2, 8, 4):
            raise Hint("The cache of 1 row, 2 heads, 8 places and 4 numbers, forked for 5, should have keys of the "
                       f"shape (5, 2, 8, 4). Yours are {tuple(new.keys.shape)}.")
        if new.keys.dtype != dtype:
            raise Hint(f"The cache holds {dtype}, and yours {new.keys.dtype}. Pass the dtype on.")
        if new.length != 3:
            raise Hint(f"The prompt has 3 positions, and the new cache says that {new.length} are filled. Its length "
                       "has to be 3.")
        for name, got, right in (("keys", new.keys, keys), ("values", new.values, values)):
            for row in range(5):
                if not torch.equal(got[row, :, :3], right[0, :, :3]):
                    raise Hint(f"The {name} of row {row} are not those of the prompt.")
        if new.keys[0].data_ptr() == new.keys[1].data_ptr():
            raise Hint("Row 0 and row 1 share their memory, so the next step of one would overwrite the other's. An "
                       "expanded view has to be copied.")
        try:
            new.update(*torch.randn(2, 5, 2, 1, 4).to(dtype))
        except Exception as error:
            raise Hint(f"The next step of the five rows fails with {type(error).__name__}: {error}") from error
        if not (torch.equal(cache.keys, keys) and torch.equal(cache.values, values)) or cache.length != 3:
            raise Hint("Writing to the new cache changed the old one: they share their memory.")
