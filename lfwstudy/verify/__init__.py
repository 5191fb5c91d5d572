"""Are two photos of the same person? A user's own photos, framed as LFW frames its images, compared by a kept network."""

# If a photo shows several faces: use the largest, most central one (the default), or refuse the photo.
FACES = ("largest", "only")
# Above this score two photos count as of the same person.
THRESHOLD = 0.5
