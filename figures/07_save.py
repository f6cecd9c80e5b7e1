"""A save in four moments: at each of them the name leads to a whole checkpoint."""

from style import GREY, LEARNED, LIGHT, RULE, Canvas

OLD, NEW = (LIGHT, 1), (LEARNED, 0.6)
X, W, HIGH, STEP = 122, 158, 50, 84  # of the first file; a file's box; from one moment to the next
MOMENTS = [("before", 0), ("write", 0.5), ("fsync", 1), ("rename", 0)]

c = Canvas(462, "Saving a checkpoint: write beside, flush, rename")
c.text(X + W / 2, 32, "run.safetensors", bold=True)
c.text(X + 1.5 * W + 14, 32, "….tmp", bold=True)
for i, (name, share) in enumerate(MOMENTS):
    y = 48 + i * STEP
    c.text(54, y + 30, name, bold=True)
    last = i == 3
    c.box(X, y, W, HIGH, "step 200, whole" if last else "step 100, whole", *(NEW if last else OLD))
    if share:
        c.rect(X + W + 14, y, W, HIGH)
        c.rect(X + W + 22, y + 32, W - 16, 10, stroke=GREY)
        c.rect(X + W + 22, y + 32, (W - 16) * share, 10, *NEW, stroke=GREY)
        c.text(X + 1.5 * W + 14, y + 22, "step 200, " + ("flushed" if share == 1 else "half"))
    if i:
        c.arrow(54, y - STEP + 40, 54, y + 10)
c.path(f"M{X + 1.5 * W + 14} {48 + 2 * STEP + HIGH}V{48 + 3 * STEP + 25}H{X + W + 3}", width=2, arrow=True)
c.text(X + W + 26, 48 + 3 * STEP + 46, "takes the name", GREY, "start")
c.line(16, 48 + 3 * STEP - 17, 454, 48 + 3 * STEP - 17, RULE, dash="5 4")
c.text(16, 384, "Above the dashed line a power failure leaves the old\ncheckpoint, below it the new one: whole in each case.\n"
       "A .tmp file that is left behind is never read, and the\nnext save overwrites it.", anchor="start")
c.save("07_save")
