"""A save in four moments: at each of them the name leads to a whole checkpoint."""

from style import CACHE, GREEN, GREY, LIGHT, NEW_TOKEN, Canvas

c = Canvas(720, 340, "Saving a checkpoint: write beside, flush, rename")
W, GAP, TOP = 156, 16, 84
OLD, NEW = CACHE, NEW_TOKEN
moments = [("before", "", None), ("write", "half of the bytes", 0.5), ("fsync", "all of them, on the disk", 1),
           ("rename", "the new one takes the name", None)]
for i, (name, says, share) in enumerate(moments):
    x = 24 + i * (W + GAP)
    c.text(x + W / 2, 36, name, 18, weight="bold")
    c.text(x + W / 2, 58, says, 13, GREY)
    c.rect(x, TOP, W, 150, LIGHT, rx=8, opacity=0.5)
    last = i == 3
    c.box(x + 12, TOP + 16, W - 24, 50, "run.safetensors\n" + ("step 200" if last else "step 100"), NEW if last else OLD, 14)
    if share:
        c.rect(x + 12, TOP + 84, W - 24, 50, "#ffffff", rx=3)
        c.rect(x + 12, TOP + 84, (W - 24) * share, 50, NEW, "none", 3, 0.35)
        c.text(x + W / 2, TOP + 105, "….tmp", 14)
        c.text(x + W / 2, TOP + 123, "step 200", 14)
    if i:
        c.arrow(x - GAP + 1, TOP + 75, x - 1, TOP + 75)
third = 24 + 3 * (W + GAP) - GAP / 2
c.rect(24, 258, third - 24 - 2, 34, OLD, opacity=0.35)
c.text((24 + third) / 2, 281, "the power fails here: run.safetensors is the old one, whole", 15)
c.rect(third + 2, 258, 696 - third - 2, 34, NEW, opacity=0.35)
c.text((third + 696) / 2, 281, "here: the new one", 15)
c.text(360, 320, "A .tmp file that is left behind is never read, and the next save overwrites it.", 14, GREY)
c.save("07_save")
