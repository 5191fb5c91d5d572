"""Are two photos of the same person? A user's own photos, framed as LFW frames its images, compared by a kept network."""
