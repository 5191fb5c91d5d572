"""Files mistaken for images or data files, recognised by their first bytes, with advice for each."""

import re
from collections.abc import Mapping

# This many bytes are enough to recognise a file.
HEAD = 1024
_SAVE = "save it as JPEG or PNG and give that"
_RAW = rb"....ftypcrx |II\*\0....CR|IIR[OS]|MMOR|IIU\0|FUJIFILMCCD-RAW|II....HEAPCCDR|FOVb|\0MRM"
_IPHONE = " (an iPhone takes JPEG with Settings, Camera, Formats, Most Compatible)"
# Of each kind of file: a pattern of its first bytes, and what to say.
_IN_PLACE_OF_ANY = {
    rb"<(!doctype|html|head|body|script|\?xml|!--)": "a web page in place of the file; download it in a browser",
    rb"\{\s*\"(\w+)\"\s*:": "a server's JSON answer in place of the file; download it in a browser",
    rb"version https://git-lfs\.github\.com/": "a Git LFS pointer in place of the file; run `git lfs pull` where it was cloned",
    rb"(\.\./)*(\.git|/annex)/\S*(annex|objects)/": "a git-annex pointer in place of the file; run `git annex get` where it was cloned",
    rb"PK\x03\x04|\x1f\x8b|BZh[1-9]|\xfd7zXZ": "a compressed file; unpack it and give its content",
    rb"Rar!|7z\xbc\xaf|\x28\xb5\x2f\xfd": "a RAR, 7-Zip or Zstandard archive, which is not read; unpack it",
    rb"\0{512}": "a file of zeros, as left by a failed copy; copy or download it again",
}
_IN_PLACE_OF_IMAGE = {
    rb"....ftyp(?=.{0,60}avi[fs])": f"an AVIF image, which is not read; {_SAVE}",
    rb"....ftyp(hei|hev|mif1|msf1)": f"a HEIC image, which is not read; {_SAVE}{_IPHONE}",
    _RAW: f"a camera's raw photo, which is not read; develop it, {_SAVE}",
    rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3|\0\0\x01[\xb3\xba]": f"a video; choose one of its frames, {_SAVE}",
    rb"\xff\x0a|\0\0\0\x0cJXL |\xff\x4f\xff\x51|\0\0\0\x0cjP  ": f"a JPEG XL or JPEG 2000 image, which is not read; {_SAVE}",
    rb"%PDF-|%!PS|\xc5\xd0\xd3\xc6|8BPS|gimp xcf": f"a PDF, PostScript, Photoshop or GIMP document; {_SAVE}",
    rb"v/1\x01|#\?RADIANCE|#\?RGBE|.{128}DICM": f"an image of high dynamic range, which is not read; {_SAVE}",
    rb"\0\x05\x16[\0\x07]": "a Mac's metadata, not the file itself; give the file without ._ before its name",
    rb"(<\?xml[^>]*>|<!--((?!-->).)*-->|\s)*<(!doctype )?svg": f"an SVG drawing, which is not read; {_SAVE}",
    **_IN_PLACE_OF_ANY,
}
_IN_PLACE_OF_DATA = {
    rb"%PDF-|\{\\rtf|\xd0\xcf\x11\xe0": "a PDF, RTF or Office document; save it as plain text",
    **_IN_PLACE_OF_ANY,
}


def not_an_image(content: bytes) -> str:
    """Why a file is not a supported image, and what to do; "" if its first bytes do not tell."""
    return _named(content, _IN_PLACE_OF_IMAGE) if content else "empty file; copy or download it again"


def not_a_data_file(content: bytes) -> str:
    """Why a file is not the data file that its name promises, and what to do; "" if its first bytes do not tell."""
    return _named(content, _IN_PLACE_OF_DATA)


def _named(content: bytes, kinds: Mapping[bytes, str]) -> str:
    start = content[:HEAD]
    heads = start, start.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = (
        told for kind, told in kinds.items() if any(re.match(kind, head, re.DOTALL | re.IGNORECASE) for head in heads)
    )
    return next(found, "")
