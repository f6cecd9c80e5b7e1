"""One word, merged: the order in which the shipped Austen vocabulary builds " happiness" out of its bytes."""

from importlib.util import find_spec
from pathlib import Path

from style import GREY, LIGHT, NEW_TOKEN, VOCAB, Canvas

WORD = "Ġhappiness"
VOCABULARY = Path(find_spec("gptbook").origin).parent / "data" / "austen" / "vocab.bpe"

merges = VOCABULARY.read_text("utf-8").split("\n")[1:-1]
rank = {tuple(line.split(" ")): i for i, line in enumerate(merges)}

# A node is (text, x of its middle, level, number of its merge); leaves stand on level 0.
LEFT, STEP, HIGH = 35, 44, 64
nodes = [(char, LEFT + i * STEP, 0, None) for i, char in enumerate(WORD)]
drawn, links = list(nodes), []
while len(nodes) > 1:
    pairs = [(a[0], b[0]) for a, b in zip(nodes, nodes[1:])]
    best = min((p for p in pairs if p in rank), key=rank.get)
    at = pairs.index(best)
    a, b = nodes[at], nodes[at + 1]
    joined = (a[0] + b[0], (a[1] + b[1]) / 2, max(a[2], b[2]) + 1, rank[best] + 1)
    nodes[at:at + 2] = [joined]
    drawn.append(joined)
    links += [(joined, a), (joined, b)]

top = max(node[2] for node in drawn)
BOTTOM = 40 + HIGH * top


def middle(node):
    return BOTTOM - HIGH * node[2]


c = Canvas(BOTTOM + 138, "The word happiness with the space before it, merged in nine steps from ten bytes to one token")
for parent, child in links:
    c.line(parent[1], middle(parent) + 17, child[1], middle(child) - 17, GREY)
for text, x, level, number in drawn:
    width = max(34, 15 + 10 * len(text))
    fill, opacity = (NEW_TOKEN, 0.4) if level == top else (VOCAB, 0.5) if level else (LIGHT, 0.6)
    c.box(x - width / 2, middle((0, 0, level)) - 17, width, 34, text.replace("Ġ", "␣"), fill, opacity, mono=True)
    if number:
        c.text(x + width / 2 + 5, middle((0, 0, level)) + 5.5, str(number), anchor="start")
c.text(235, BOTTOM + 38, "ten bytes; ␣ is the space", GREY)
c.text(235, BOTTOM + 70, "A number says when a pair was learned: 1 is the\n"
       "most frequent pair of the novels. In a new word,\nthe pair with the lowest number is joined first.")
c.save("01_bpe_tree")
