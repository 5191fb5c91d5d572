"""Are two photos of the same person? A user's own photos, framed as LFW frames its images, compared by a kept network."""

# What is done where a photo shows several faces, the default first: take the largest, most central one, or refuse it.
FACES = ("largest", "only")
# Two photos are taken to show the same person above this score.
THRESHOLD = 0.5
