"""One word, merged: the order in which the shipped Austen vocabulary builds " happiness" out of its bytes."""

from importlib.util import find_spec
from pathlib import Path

from style import GREY, INK, LIGHT, VERMILION, YELLOW, Canvas

WORD = "Ġhappiness"
VOCAB = Path(find_spec("gptbook").origin).parent / "data" / "austen" / "vocab.bpe"

merges = VOCAB.read_text("utf-8").split("\n")[1:-1]
rank = {tuple(line.split(" ")): i for i, line in enumerate(merges)}

# A node is (text, x of its middle, level, number of its merge); leaves stand on level 0.
LEFT, STEP = 55, 68
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
HEIGHT, BOTTOM = 124 + 66 * top, 66 + 66 * top


def middle(node):
    return BOTTOM - 66 * node[2]


c = Canvas(720, HEIGHT, "The word happiness with the space before it, merged in nine steps from ten bytes to one token")
for parent, child in links:
    c.line(parent[1], middle(parent) + 17, child[1], middle(child) - 17, GREY)
for text, x, level, number in drawn:
    width = max(34, 15 + 10 * len(text))
    fill = VERMILION if level == top else YELLOW if level else LIGHT
    c.rect(x - width / 2, middle((0, 0, level)) - 17, width, 34, "#ffffff")
    c.rect(x - width / 2, middle((0, 0, level)) - 17, width, 34, fill, opacity=0.4)
    c.text(x, middle((0, 0, level)) + 5.5, text.replace("Ġ", "␣"), 17, mono=True)
    if number:
        c.text(x + width / 2 + 6, middle((0, 0, level)) + 5, str(number), 14, INK, "start")
c.text(LEFT + 4.5 * STEP, HEIGHT - 14, "ten bytes; ␣ is the space", 14, GREY)
c.text(20, 40, "The number beside a fragment says", 14, GREY, "start")
c.text(20, 58, "when it was learned: merge 1 is the", 14, GREY, "start")
c.text(20, 76, "most frequent pair of the novels.", 14, GREY, "start")
c.save("01_bpe_tree")
