"""Checks of chapter 13, scaling out."""

import math

from gptbook.exercises import Hint, call, exercise


@exercise("13.1")
def _(answer):
    for n, world_size in ((12, 3), (10, 3), (11, 4), (2, 4), (1001, 8)):
        parts = []
        for rank in range(world_size):
            got = call(answer, n, rank, world_size)
            whole = isinstance(got, tuple) and len(got) == 2 and all(isinstance(i, int) and not isinstance(i, bool) for i in got)
            if not whole:
                raise Hint(f"Return two ints, (start, end), not {got!r}.")
            parts.append(got)
        told = f"Of {n} lines for {world_size} ranks you gave {parts}: "
        if parts[0][0] != 0:
            raise Hint(told + "rank 0 should begin with line 0.")
        for rank in range(1, world_size):
            if parts[rank][0] > parts[rank - 1][1]:
                raise Hint(told + f"nobody has line {parts[rank - 1][1]}.")
            if parts[rank][0] < parts[rank - 1][1]:
                raise Hint(told + f"ranks {rank - 1} and {rank} both have line {parts[rank][0]}. The end is the first line "
                                  "that a rank does not have.")
        if parts[-1][1] < n:
            raise Hint(told + f"the last {n - parts[-1][1]} have no reader. n // world_size leaves a rest.")
        if parts[-1][1] > n:
            raise Hint(told + f"there is no line {parts[-1][1] - 1}.")
        sizes = [end - start for start, end in parts]
        if max(sizes) > min(sizes) + 1:
            raise Hint(told + f"one has {max(sizes)} lines and another {min(sizes)}. Spread the rest, one line each.")


@exercise("13.2")
def _(answer):
    def close(a, b):
        return math.isclose(float(a), b, rel_tol=1e-9)

    got = call(answer, 3, 12, 4)  # equal shares: DDP alone does it right
    if close(got, 1 / 4):
        raise Hint("With equal shares, 3 of 12 for each of 4 ranks, the factor must be 1, and yours is 1/4. DDP divides by the "
                   "number of ranks as well.")
    if not close(got, 1):
        raise Hint("With equal shares, 3 of 12 for each of 4 ranks, DDP is right by itself: the factor must be 1, and yours is "
                   f"{got!r}.")
    got = call(answer, 2, 3, 2)
    if close(got, 1):
        raise Hint("A rank with 2 of 3 targets gets factor 1: the mean of means. Its share is larger than that of the other.")
    if close(got, 3 / 4):
        raise Hint("You divided by the share: a rank with more targets must count more, not less.")
    if not close(got, 4 / 3):
        raise Hint(f"With 2 of 3 targets and 2 ranks the factor is 4/3, yours is {got!r}: its share times the number of ranks.")


@exercise("13.3")
def _(answer):
    for stage, shared in enumerate((0, 8, 12, 16)):
        for n, world_size in ((1000, 1), (1000, 4), (10, 5)):
            got, right = float(call(answer, n, world_size, stage)), n * (16 - shared + shared / world_size)
            if math.isclose(got, right, rel_tol=1e-9):
                continue
            told = f"Stage {stage} with {n} parameters on {world_size} ranks takes {right:g} bytes on each, yours are {got:g}. "
            if math.isclose(got, n * 16 / world_size):
                raise Hint(told + "You share out everything; only stage 3 does.")
            if math.isclose(got * 4, right) or math.isclose(got * 16, right):
                raise Hint(told + "That is a count of numbers: a float32 has 4 bytes.")
            if math.isclose(right - got, n * 4) or math.isclose(right - got, n * 4 / world_size):
                raise Hint(told + "AdamW has two moments for each parameter, 8 bytes.")
            raise Hint(told + "Weights 4, gradients 4, moments 8 bytes a parameter; stage 1 divides the moments, 2 the gradients "
                              "too, 3 all.")


@exercise("13.4")
def _(answer):
    def right(text):
        return max((i for i in range(1, len(text)) if text[i].isspace() and not text[i - 1].isspace()
                    or text[i] in "。，！？" and text[i - 1].isalpha()), default=0)

    for text in ("Anne was", "Anne was kind", "one,  two", "她来了。他", "真的？！好", "她 ！他", "他说。", "达西。她来", "page 4。她",
                 "她来，他", "好！她", "one\ntwo", "one\n two", "one\ttwo", "她\u3000他"):
        got, best = call(answer, text), right(text)
        if isinstance(got, bool) or not isinstance(got, int):
            raise Hint(f"Return a position, an int, not {got!r}.")
        if got == best:
            continue
        if not 0 <= got < len(text):
            raise Hint(f"{got} is no place inside {text!r}, which has positions 1 to {len(text) - 1}; 0 says that there is none.")
        halves = f"{text[:got]!r} and {text[got:]!r}"
        if got and text[got - 1].isspace():
            if text[got].isspace():
                raise Hint(f"{halves}: you cut inside white space, which is one run. Something visible must stand before the "
                           "cut.")
            if text[got] in "。，！？":
                raise Hint(f"{halves}: the space belongs to the sign after it, as to a word. Only a letter may stand before the "
                           "sign.")
            raise Hint(f"{halves}: you cut after the white space. A word owns the space before it, so cut before the space.")
        if got and text[got] in "。，！？" and not text[got - 1].isalpha():
            signs = text[got - 1] in "。，！？"
            raise Hint(f"{halves}: {'signs in a row are one piece' if signs else 'the exercise asks for a letter before the sign'}.")
        if got < best and (got == 0 or right(text[:got + 1]) == got):
            raise Hint(f"In {text!r} there is a later place than {got}: {best}, {text[:best]!r} and {text[best:]!r}.")
        raise Hint(f"{halves} is no place for a cut: look at the two characters beside it.")


@exercise("13.5")
def _(answer):
    for N in (1, 2, 3, 5):
        held = [[10 ** rank * (chunk + 1) for chunk in range(N)] for rank in range(N)]
        before = [list(chunks) for chunks in held]
        result, sent = call(answer, held)
        if held != before:
            raise Hint("What was handed in has changed. Copy the lists first.")
        total = [sum(row[chunk] for row in held) for chunk in range(N)]
        if [list(row) for row in result] == [[value / N for value in total]] * N and N > 1:
            raise Hint("That is the mean. An all-reduce gives the sum; whoever wants the mean divides afterwards.")
        if [list(row) for row in result] != [total] * N:
            done = sum(list(row)[chunk] == total[chunk] for row in result for chunk in range(N))
            if done == N and sent == N - 1:
                raise Hint(f"With {N} ranks each has the sum of one chunk only: the reduce-scatter is done. The finished chunks "
                           "must travel round once more.")
            raise Hint(f"With {N} ranks that hold {held} each must end with {total}; you returned {result}.")
        if sent == 2 * (N - 1) * N and N > 1:
            raise Hint(f"{sent} chunks are those of all ranks together. Each has sent {2 * (N - 1)}.")
        if sent != 2 * (N - 1):
            raise Hint(f"With {N} ranks each sends {2 * (N - 1)} chunks, N - 1 to add and N - 1 to copy; you counted {sent}.")
