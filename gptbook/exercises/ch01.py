"""Checks of chapter 1's exercises."""

from . import Hint, call, exercise


@exercise("1.1")
def _(answer):
    for char, length in (("z", 1), ("ï", 2), ("£", 2), ("達", 3), ("🙂", 4), ("~", 1), ("\x80", 2), ("߿", 2), ("ࠀ", 3)):
        counts = list(call(answer, char))
        if len(counts) != 4:
            raise Hint(f"For {char!r} you return {len(counts)} numbers. There are four lengths: 1, 2, 3 and 4 bytes.")
        if counts[length - 1] == length > 1:
            raise Hint(f"{char!r} is one character, and you count {length} for it: you add up bytes. "
                       "Count characters, each under the number of its bytes.")
        if counts != [int(i == length) for i in (1, 2, 3, 4)]:
            raise Hint(f"{char!r} is code point {ord(char):#x}. UTF-8 writes it in {length} bytes, and you return "
                       f"{counts}. Only code points below 0x80 take one byte, below 0x800 two, below 0x10000 three.")
    for text, expected in (("naïve 达西 🙂", [6, 1, 2, 1]), ("", [0, 0, 0, 0]), ("été", [1, 2, 0, 0])):
        counts = list(call(answer, text))
        if counts != expected:
            raise Hint(f"utf8_lengths({text!r}) should be {expected}, yours is {counts}.")


@exercise("1.2")
def _(answer):
    for n, length, stride in ((11, 4, 4), (9, 4, 4), (8, 4, 4), (11, 4, 2), (5, 4, 1), (100, 7, 3), (4, 4, 1), (2, 9, 2)):
        starts = [i for i in range(0, n, stride) if i + length + 1 <= n]
        windows = call(answer, n, length, stride)
        if windows == len(starts):
            continue
        where = f"With n_tokens = {n}, max_length = {length}, stride = {stride}"
        if n <= length:
            raise Hint(f"{where} not even one window and its targets fit, and you count {windows}. "
                       "The answer is 0, not less and not more.")
        if windows == len([i for i in range(0, n, stride) if i + length <= n]):
            raise Hint(f"{where} you count {windows} windows. The last one starts at token {(windows - 1) * stride} "
                       f"and has no target for its last token: a window needs max_length + 1 = {length + 1} tokens.")
        if windows == len(starts) - 1:
            raise Hint(f"{where} you count {windows}, one too few: the windows start at {starts}, and the one that "
                       "starts at 0 counts too.")
        raise Hint(f"{where} the windows start at {starts}, which makes {len(starts)}; you count {windows}.")


@exercise("1.3")
def _(answer):
    text = "naïve 达西 🙂!"
    data = text.encode("utf-8")
    for end in range(len(data) + 1):
        cut = data[:end]
        try:
            result = call(answer, cut)
        except Hint as hint:
            if isinstance(hint.__cause__, UnicodeDecodeError):
                raise Hint(f"For {cut!r} you try to decode bytes that are no whole character. One, two or three bytes "
                           "of it may be there already, and all of them have to wait.") from hint.__cause__
            raise
        if not isinstance(result, tuple) or len(result) != 2:
            raise Hint(f"For {cut!r} you return {result!r}. Return two things: the text and the bytes left over.")
        done, waiting = result
        whole = max((text[:i] for i in range(len(text) + 1) if cut.startswith(text[:i].encode("utf-8"))), key=len)
        if "�" in done:
            raise Hint(f"For {cut!r} your text is {done!r}: the unfinished character is replaced, and its bytes are "
                       "lost. They have to wait for the rest of it.")
        if done.encode("utf-8") + bytes(waiting) != cut:
            raise Hint(f"For {cut!r} your text {done!r} and your bytes {waiting!r} do not make up all that came in: "
                       "bytes must not get lost.")
        if done != whole:
            raise Hint(f"For {cut!r} the complete text is {whole!r}, yours is {done!r}. Let only the bytes of the "
                       "unfinished character wait.")


@exercise("1.4")
def _(answer):
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {token: 256 + i for i, token in enumerate((b"bc", b"ab", b"cd", b"abcd", b"aa", b"xyxy", b"xy", b"abab"))}
    cases = ((b"", []), (b"q", [b"q"]), (b"ab", [b"ab"]), (b"abc", [b"a", b"bc"]), (b"abcd", [b"a", b"bc", b"d"]),
             (b"xyxyxy", [b"xyxy", b"xy"]), (b"aaa", [b"aa", b"a"]), (b"aab", [b"a", b"ab"]),
             (b"ababab", [b"abab", b"ab"]), (b"xyq", [b"xy", b"q"]))
    for piece, expected in cases:
        tokens = list(call(answer, piece, dict(ranks)))
        if tokens == expected:
            continue
        if b"".join(tokens) != piece:
            raise Hint(f"Your tokens of {piece!r} are {tokens}, and joined they are not {piece!r} any more.")
        if tokens == _longest_first(piece, ranks):
            raise Hint(f"For {piece!r} you return {tokens}: you take the longest token that fits, or the first pair "
                       f"you see. Merge the pair of lowest rank first: {expected}.")
        if any(a + b in ranks for a, b in zip(tokens, tokens[1:])):
            raise Hint(f"For {piece!r} you stop at {tokens}, though two neighbours there make another token. Merge "
                       f"until none do: {expected}.")
        raise Hint(f"For {piece!r} you return {tokens}. With the lowest rank first, and of equals the leftmost, it "
                   f"is {expected}.")


def _longest_first(piece, ranks):
    tokens = []
    while piece:
        end = max(i for i in range(1, len(piece) + 1) if piece[:i] in ranks)
        tokens.append(piece[:end])
        piece = piece[end:]
    return tokens
