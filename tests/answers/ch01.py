"""Wrong answers to chapter 1's exercises, each with words of the hint meant for it."""


def latin_1_takes_one(text):
    counts = [0, 0, 0, 0]
    for char in text:
        code = ord(char)
        counts[(code > 0xFF) + (code > 0x7FF) + (code > 0xFFFF)] += 1
    return counts


def adds_up_bytes(text):
    counts = [0, 0, 0, 0]
    for char in text:
        n = len(char.encode("utf-8"))
        counts[n - 1] += n
    return counts


def three_lengths(text):
    return [sum(len(char.encode("utf-8")) == n for char in text) for n in (1, 2, 3)]


def forgets_the_target(n_tokens, max_length, stride):
    return max(0, (n_tokens - max_length) // stride + 1)


def forgets_the_first(n_tokens, max_length, stride):
    return max(0, (n_tokens - max_length - 1) // stride)


def below_zero(n_tokens, max_length, stride):
    return (n_tokens - max_length - 1) // stride + 1


def at_least_one(n_tokens, max_length, stride):
    return max(1, (n_tokens - max_length - 1) // stride + 1)


def replaces(data):
    return data.decode("utf-8", errors="replace"), b""


def ignores(data):
    return data.decode("utf-8", errors="ignore"), b""


def one_byte_waits(data):
    try:
        return data.decode("utf-8"), b""
    except UnicodeDecodeError:
        return data[:-1].decode("utf-8"), data[-1:]


def only_ascii(data):
    end = next((i for i, byte in enumerate(data) if byte > 127), len(data))
    return data[:end].decode("utf-8"), data[end:]


def text_alone(data):
    return data.decode("utf-8", errors="ignore")


def longest_first(piece, ranks):
    tokens = []
    while piece:
        end = max(i for i in range(1, len(piece) + 1) if piece[:i] in ranks)
        tokens.append(piece[:end])
        piece = piece[end:]
    return tokens


def once_only(piece, ranks):
    parts = [piece[i:i + 1] for i in range(len(piece))]
    found = [(ranks[a + b], i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if a + b in ranks]
    if found:
        _, i = min(found)
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    return parts


def drops_unmerged(piece, ranks):
    return [token for token in longest_first(piece, ranks) if len(token) > 1]


def rightmost(piece, ranks):
    parts = [piece[i:i + 1] for i in range(len(piece))]
    while True:
        found = [(ranks[a + b], -i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if a + b in ranks]
        if not found:
            return parts
        i = -min(found)[1]
        parts[i:i + 2] = [parts[i] + parts[i + 1]]


WRONG = {
    "1.1": [(latin_1_takes_one, "below 0x80"), (adds_up_bytes, "you add up bytes"),
            (three_lengths, "four lengths")],
    "1.2": [(forgets_the_target, "no target for its last token"), (forgets_the_first, "one too few"),
            (below_zero, "not even one window"), (at_least_one, "not even one window")],
    "1.3": [(replaces, "is replaced"), (ignores, "must not get lost"), (one_byte_waits, "no whole character"),
            (only_ascii, "complete text"), (text_alone, "Return two things")],
    "1.4": [(longest_first, "lowest rank first"), (once_only, "though two neighbours"),
            (drops_unmerged, "joined they are not"), (rightmost, "of equals the leftmost")],
}
