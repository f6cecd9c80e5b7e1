"""Checks of chapter 10's exercises."""

import torch

from . import Hint, call, exercise


@exercise("10.1")
def _(answer):
    for T, S, W in [(6, 6, 3), (1, 5, 2), (3, 8, 4), (3, 8, 1), (4, 6, 9)]:
        got = call(answer, T, S, W)
        where = f"chunk_window({T}, {S}, {W})"
        if tuple(got.shape) != (T, S):
            raise Hint(f"{where} should have the shape ({T}, {S}), one row for each query and one column for each key. "
                       f"Yours has {tuple(got.shape)}.")
        seen = got.bool()
        if W < S and torch.equal(seen, torch.ones(T, S, dtype=torch.bool).tril(S - T)):
            raise Hint(f"{where} is the causal mask. Nothing is hidden on the left: query i at position S - T + i sees only "
                       f"the {W} positions that end there.")
        for i in range(T):
            at = S - T + i
            says = seen[i].nonzero().flatten().tolist()
            right = [j for j in range(S) if j <= at and at - j < W]
            if says == right:
                continue
            shown = f"In {where}, query {i} stands at position {at} and should see {right}. Yours sees {says}. "
            if says == [j for j in range(S) if j <= i and i - j < W] and S > T:
                raise Hint(shown + f"The queries are the last {T} of {S} positions: query 0 stands at {S - T}.")
            if says == [j for j in range(S) if j <= at and at - j <= W]:
                raise Hint(shown + f"That is one too many: a window of {W} counts the token itself.")
            if says == [j for j in range(S) if j < at and at - j <= W]:
                raise Hint(shown + "A query may look at its own position.")
            if says and says[-1] > at:
                raise Hint(shown + f"Position {says[-1]} is in its future.")
            raise Hint(shown + "Write both conditions down with the query's position, S - T + i.")
        if got.dtype != torch.bool:
            raise Hint(f"The right places, but as {got.dtype}. scaled_dot_product_attention would add such numbers to "
                       "the scores; a mask of permissions is of torch.bool.")


@exercise("10.2")
def _(answer):
    for n, W in [(3, 4), (10, 4), (4, 4), (0, 2), (5, 1), (11, 3)]:
        right = [None] * W
        for p in range(max(0, n - W), n):
            right[p % W] = p
        got = call(answer, n, W)
        got = list(got)
        if got == right:
            continue
        shown = f"in_the_ring({n}, {W}) should be {right}, yours says {got}. "
        if len(got) != W:
            raise Hint(shown + f"There are {W} slots, filled or not.")
        if got == [p for p in range(n - W, n)]:
            raise Hint(shown + "These are the right positions in the order of the text. Position p lies in slot p mod W.")
        if sorted(p for p in got if p is not None) == sorted(p + 1 for p in right if p is not None):
            raise Hint(shown + f"Positions count from 0, so the last of {n} tokens stands at {n - 1}.")
        if got == [p if p < n else None for p in range(W)]:
            raise Hint(shown + "A later position takes the slot of an earlier one.")
        raise Hint(shown + "Take the tokens one by one, and write each position p over what lies in slot p mod W.")


@exercise("10.3")
def _(answer):
    cases = [("L", 3, 4, 100), ("L", 1, 1, 100), ("L", 3, 8, 10), ("LLG", 3, 4, 100), ("GLL", 6, 4, 50), ("LG", 1, 4, 100),
             ("LLG", 2, 5, 100)]
    for pattern, L, W, n in cases:
        letters = [pattern[i % len(pattern)] for i in range(L)]
        right = n - 1 if "G" in letters else min(L * (W - 1), n - 1)
        got = call(answer, pattern, L, W, n)
        if got == right:
            continue
        shown = f'reach("{pattern}", {L}, {W}, {n}) should be {right}, yours says {got}. '
        if "G" in letters:
            if got == n:
                raise Hint(shown + f"Before the last of {n} tokens there are {n - 1} others.")
            raise Hint(shown + "A global layer sees everything before it, and that reaches the output wherever it stands.")
        if "G" in pattern:
            raise Hint(shown + f"With {L} layers the pattern is cut off before its G: the layers are {''.join(letters)}.")
        if got in (L * W, min(L * W, n - 1)):
            raise Hint(shown + f"A window of {W} reaches {W - 1} positions before the token.")
        if got == L * (W - 1):
            raise Hint(shown + f"There are only {n - 1} positions before the last.")
        if got == W - 1:
            raise Hint(shown + f"That is one layer. There are {L}.")
        raise Hint(shown + "Each local layer adds as many positions as its window has besides the token itself.")


@exercise("10.4")
def _(answer):
    cases = [("L", 3, 4, 100, 2, 8, 4), ("LLG", 6, 256, 4096, 12, 64, 4), ("LG", 2, 64, 16, 1, 4, 2), ("G", 3, 8, 40, 2, 4, 2)]
    for pattern, L, W, S, K, D, size in cases:
        letters = [pattern[i % len(pattern)] for i in range(L)]
        rooms = [S if letter == "G" else min(W, S) for letter in letters]
        right = 2 * K * D * size * sum(rooms)
        got = call(answer, pattern, L, W, S, K, D, size)
        if got == right:
            continue
        shown = f'cache_bytes("{pattern}", {L}, {W}, {S}, {K}, {D}, {size}) should be {right}, yours says {got}. '
        if got * 2 == right:
            raise Hint(shown + "That is half: a position is kept twice, as a key and as a value.")
        if got * size == right:
            raise Hint(shown + f"These are numbers, and each takes {size} bytes.")
        if got == 2 * K * D * size * sum(S if letter == "G" else W for letter in letters):
            raise Hint(shown + f"A ring of {W} slots for a text of {S}: the ring need not be longer than the text.")
        if got == 2 * K * D * size * L * min(W, S):
            raise Hint(shown + f"A global layer has no window: it needs room for all {S} positions.")
        if got == 2 * K * D * size * sum(S if letter == "G" else min(W, S) for letter in pattern):
            raise Hint(shown + f"The pattern is repeated: the {L} layers are {''.join(letters)}.")
        raise Hint(shown + f"The {L} layers have room for {rooms} positions.")


@exercise("10.5")
def _(answer):
    torch.manual_seed(0)
    W, D = 4, 3
    k_all, v_all, q_all = torch.randn(3, 11, D, dtype=torch.float64)
    for n in (0, 2, 3, 4, 10):
        keys, values = torch.zeros(2, W, D, dtype=torch.float64)
        for p in range(n):
            keys[p % W], values[p % W] = k_all[p], v_all[p]
        before, last = keys.clone(), torch.arange(max(0, n - W + 1), n + 1)
        got = call(answer, keys, values, n, q_all[n].clone(), k_all[n].clone(), v_all[n].clone())
        state = f"After {n} tokens in a ring of {W} slots, "
        if tuple(got.shape) != (D,):
            raise Hint(state + f"the output should have the shape ({D},), yours has {tuple(got.shape)}.")
        if torch.equal(keys, before):
            raise Hint(state + "the ring is as it was. Write the new key and value into it, in place.")
        if not (torch.equal(keys[n % W], k_all[n]) and torch.equal(values[n % W], v_all[n])):
            raise Hint(state + f"position {n} belongs into slot {n % W}, key and value. Something else lies there.")
        others = [slot for slot in range(W) if slot != n % W]
        if not torch.equal(keys[others], before[others]):
            raise Hint(state + f"only slot {n % W} may change. Another one did.")

        def out(positions, scale=D**0.5, padding=0):
            scores = torch.cat([k_all[positions] @ q_all[n] / scale, torch.zeros(padding, dtype=torch.float64)])
            return scores.softmax(dim=0)[:len(positions)] @ v_all[positions]

        if torch.allclose(got, out(last), atol=1e-9):
            continue
        if torch.allclose(got, out(last, scale=1), atol=1e-9):
            raise Hint(state + "the scores are not divided by the root of D.")
        if n + 1 < W and torch.allclose(got, out(last, padding=W - n - 1), atol=1e-9):
            raise Hint(state + f"only {n + 1} slots are filled afterwards. The zeros in the others got a share of the weight.")
        if n and torch.allclose(got, out(torch.arange(max(0, n - W), n)), atol=1e-9):
            raise Hint(state + "the query looked before the new key was written. It sees its own position, too.")
        raise Hint(state + f"the query sees the positions {last.tolist()}, and your output is not their weighted mean.")
