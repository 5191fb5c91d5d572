"""Compare a user's own photos, framed like LFW's images, with a kept network."""
