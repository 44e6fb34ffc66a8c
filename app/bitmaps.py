"""Pictures laid over an image: composed masks, coloured heatmaps, re-encoded segmentations. PNG in, PNG out.

Everything a pipeline stored is decoded and written anew, so that nothing of a hostile file reaches a browser.
A palette PNG with a tRNS chunk is a fraction of an RGBA one in bytes and in time.
"""

import io
import math
import struct
import zlib
from base64 import b85decode
from collections.abc import Sequence
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidPayload
from app.geometry import Bits, Frame, Raster, decode_crop, raster_box, sample

MAX_PIXELS = 100_000_000
MAX_SIDE = 4096
"""Of a layer, in pixels: what is larger is drawn smaller in proportion, and stretched again by the browser."""
MAX_WORK = 100_000_000
"""Pixels of all masks together; above it the layer is drawn smaller, so that many large ones stay bounded."""

# As in imaging: Pillow warns above this, and warning filters belong to the process, not to a thread.
# The limit that counts is checked in `_opened`.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

BAND = 256
"""Rows of a layer made at once, so that of a large picture only one copy is ever in memory."""

Bytes: TypeAlias = NDArray[np.uint8]
Values: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

FILL_ALPHA, EDGE_ALPHA = 140, 255
LARGEST_LABEL = 64

# 256 RGB triples in base85, as matplotlib has them: viridis and magma (CC0, Smith and van der Walt),
# cividis (Nuñez, Anderton and Renslow 2018), turbo (Apache 2.0, Mikhailov 2019)
_TABLES = {
    "viridis": (
        "L;+Mp0#-!?S49O`Mh99(2wX-AT}BIDM-5;{4q-<SV@DBWM-yd86lX{lXh;`nNEm8J8f-`#ZAct$NF8rTA8<$@aY!L^NF#JeB"
        "y~t7c1R|7NGNznDS1aKdPgjJM=g6tE__EXeMT^TMlyazGk-=jfJHTdMK^&(ID$kugG4%mL_35-J%mF(g+f1tLO_N>L54v>he"
        "1S#Kt+f^Mu<O0h(Ab)K1qo_N{K#9iakw=Jx+=|Pl`NHi#t(^J5q}}Q;RxOj5$?|IaZ7~Sd2JXj5k`0H(QN1T#YtejWu44HD8"
        "T1V2w0kjWc46Gh>Z1WR5arjxlDAF=vi3XpS&xjxcJDFKdo3Y>qB%jxKJFE^m%4aE>i;jx2GGEOL%4bB-%?jw^MJDt3-4caAD"
        "}jwyMLDSD16dyXi4jwpSOCw`76e~u@BjwXSQCW4M8f{rDFjwOVSC54V8hK?kMjw6VUBZ-b9ij5+RjUtSVB8`n9j*TIYjUkYY"
        "A(4zAl8hjdj3ASYAC!zAm5U#iiyxPZADD|DnTj8piXNMa9-N6Dorxcwi65VcAE1aIp@<)$haaMcAftvLq=q4-g(0SeBBzBSs"
        "DvY_gCwehC98rZtb!)3fhVnjD6W7huYW4Ae=M<nEwX(svwSbKd@;3qGPZg&ws|$Tc{jLtIJtK^x^_Febv?XvKfH55y>ddnaY"
        "VmxM!;`K!EQ>yZA`*!PQz<Z#A;H-X;j5%R>o&o$7Nc`WL(H&Uddu$%3x#5UuDZ)XUtq_&0B2ET5ir*aL-qB&{lQORCm!+deK"
        "pQ(olcXPJz=+gw#uh)k%rfNQ>4+j@Ctx*F%%nL6z7*nAkp>**u-uJD}P*qS`m5+cv1%G^*S(t=urM-7m7;Ew$b&xZWwc-YC7"
        "_Ccxh%!rvps;33H1Aj;t%&EXx;;T+Q98`a_(*y0)5;~CxK7~kU<;^Y|R<QeDW8S3R4?ByHp<s9+l9rWfN_U0h?<{|s%BmL(k"
    ),
    "magma": (
        "000C500jX71_1#G0s#pE0t*5H4FdxY0|OES1QZ1X76t_v1_c@i1{??n9tj5^3J4+#2_y^&CJhQH4ht&~3oQ{0FA@zg6Ad&J4"
        "mK4II2I2(7!N%e5I-6aLL3l89T7(!5lJ8sOCb?XA`ws|5>q7-RVNZyDG^#K5nL=0Uo8<~FA-xg5oI$FXEYFLHV|t#5NtUQZa"
        "WWfJr8j|4{|^cbV3hxL=SdF5O+rqcu5d=N)UNW5qeG$druO3Q4)Mo6MR$?eO45GR~3F)6@FS4eq0uRT^D~}7=K_GfMOYdWEy"
        "~F8h~dTfM^_nY8-)U9f55ffo>jwa36tkAAxfqfpsB)b|HayB7u1#f_o!^d?SK>B!Yk?f`KK0gC>E5CV_@0frux8i70`KDS?b"
        "BfsQJHkSc+ZD}j?MfRrqNmMnmnEr6LVfSWFVoGyQ!FMpsff1xmbqcDD@F@B~oeW)^hsxy77GkmQye6BQmur+(KHG8u*dbKus"
        "w>NpXH+i}^c)U4yy*YQkI(NW2cEUS##5{GyJaorBbI3k(%06<;KXJ`KanC?-&_Qp~LT}SUZq-C>)<taCMQqtdYuiU^+(>EON"
        "oe0nXy8m|;!S4bPG#gzWaUs~=Tc+nQ)1~<V(M05>sMgxSYYj1U+!C8?_FN-UtaNGUGidG@?>1|WnA=UT=Z#N^=n-AY+UwkT="
        "#HX_i|kLbX@p$T={ri`FUOWdtLf{UiyDt`hj2jgJ1iFVEcz*{E1=wiemhXWBiU}{E%h+l4kvsXZ@CF{g`R}nri)<YyO>V{-1"
        "6Bp>F=8Z~mom{-<*OsdN6SbpEV%{;qfauz3Emdj7O~{<eJnw|@S)fBw6H{=I_!zl8q5h5o{a{=|s>#)|&PjQ+}v{>+d5&5-`"
        "jlK#<@{?nEI)tCO)nf}<C{o0)U+@Ag3p#9*X{o<qj<E8!Or~T)t{pqUx>#Y3juKez>{P42;^0fT)w*2<E{P(&1`Mdo4z5M;Z"
    ),
    "cividis": (
        "03uERBToP%Q2-@V03}oaCRP9^SO6$l04Q4kDO~_6UjQm$04rhuEMx#IW&kZ{04{0(E^GiVZ2&ND05EU>F>nAeaRD-M1v7C7G"
        "jI$va1S+b5;brXHgFa<a2Pjl8aQtpId2|1Zy-8vAv<m(JZ>aBZYDi$Cq8Z|KW-{NZ7V=+EkSKAL2WNWZ81Y_GDB@ML~S%hY&"
        "At}Hb!hXM{GGrY&uA6J4tLjN^Ct!Y(7hDKTK>uOl(0-Y(h?KLr!c&Pi#d{Y(`ORM^S7@Qfx_6Y)VsXOH^!3RcuXFY))2ePgi"
        "VES8P#OZBkinQ(A3QT5VNZZB<-tR$OgYU2RxiZCPG!T3>EkU~XJtZe3w+USe)uV{cz$Z(w9^VP$V(Wp86<aAaq2WoU3^XmDm"
        "}aA#_9Xlik3YjJ99acgaIY;AIEZgOpJa&B*PZ*X&PadUBUbaHZZa&vTZbaixeb#--hc6N4mcXoGocX)Vrd3kqwdU$(!czk<!"
        "eSCO+e0Y9+cz=F)fPZ*_e|Um`d4qv@go1g6f_a96d545}h=q8Gg?NgFc#DU4jEH!Rh<J{Pc#n#Bkc)Vci+GZZc#@5Hla6?lj"
        "(3%hcb1TMmyvgvl6RSscbb!So0N8(m3Ez#cAl1YpO<x@n029<b)uPdqndQ2n{=g|bf%nir=4@Co^z?6bE=?otDthMp>nOFa;"
        "~FsucUFXrE#&PaI>axw5M;isBgBZZ?~y#xT<cst8KchZM&^)ysm7$u57-qYrn8-z_Dt<vTDM!X~VN=#I$I|wP?n+XUDf^$hc"
        "<7xn;|_Wz4!{&AVgHykpP3V$i-~(Z6BRz+ltBU(~^0)xuuZ!(G?JT-n83+QwVk$6DOTS>4E3-pN?s%2(jaR^iN5;>}d#&Qs;"
        "jQs&T6=h0B;(ogBrPU_Q4>(oo_)k^NxN$=N4@YqK2*+uf&MDyE1_1r=B-9Pu<KKS1}`QSSH;W+%_HvQu?{^T_N<u(51HvZ^1"
    ),
    "turbo": (
        "FcLd56+<%^N;Df$H6B<tAzwEnW;iEpIVy8HEqOaHfIKpWJvECyIFUa)mp?w7KtQ5FL#IJTtU^h#LQAznPP#-<zeH5SL{`T|S"
        "<6LS&qZF-Mq$=QWZFh%-9~BPMr-3oZstdE=|^+xM|SQ<c<@Ji@<x61Mu7H4g7`*-`bLNQMT-1IjQvE9{zH-eLX`hOmj6JR|2"
        "~`kJ)ZtMp#3_d{5YliH>mnGtN1gm_c5>aFS7J5wDK&s@G80PD7@<@zUd{v=Oe@9BE{k$$KM~x-5$%@9L?Ap(A65!(i+sz8P&"
        "}g*UA{#$Qawj7~R4c-oO~(y&2-W8RNMc<hC5<v>oTNAL*|k>Z~H`swM2FC+?&w@1ZR4o-gs6GV+);^OQLBkv#Q|KlX}4_lHL"
        "Kgi82;PWgRO`g&FRc3Jy#UHorh{A^|YX=(jtZT@0${$F+eTzURkeg9T~|5JqjQHcLei~mcH|4EYnN0$CXnf^kY{y?AoKcW3S"
        "r2IUm{5q-oIjs9QulhH!`8KrpHn;aRx%M@@^)$ZpG{N&U!|^o6@HEKpG|TNY&FnPL>NL{nHPq)d*X1?Y<Tl&lHr?Pi-`_Xk-"
        "8bXgIOW+m=hr#u)j8|aIqcCo?$0{!%{uYRI`YXn^v62&#X9!GI`_dk_`W&$ygB;1Is3Rc`?fdyvo`#(HvO(O{j4<psWbkkGX"
        "A77{-H4bo-h8JE&iD-{+28LlPdm@DgBKn{fZ|1hb8=kBm03O`+gz%dms6D9{F`0_;MWgZyNS&8TDxx^kx_HV-@mX6!BdX@LL"
        "k^SP|`25bRSA>rf8rP7UZw4ChG<<wpzTMGE3W3gJNs-#-Z5JqX-82iiFY*f$2&H3rl(1=2AE&@TnfEd<Of1j;G|$S4EFCIiD"
        "I1HmH#z99m<AOg7_0=FFkv>O4k8Ue2u0jw7RsTKjJ6al0Y0ihBBo)7_>4*{4C0hJ8_k_!Qj3IU4=0*D9#g$DwG1_FKs0(t}k"
    ),
}
_RAMP = np.arange(256, dtype=np.uint8)
COLOR_MAPS: dict[str, Bytes] = {
    name: np.frombuffer(b85decode(table), dtype=np.uint8).reshape(256, 3) for name, table in _TABLES.items()
} | {"grey": np.stack([_RAMP] * 3, axis=1)}
"""256 colours each, from the lowest value to the highest."""

_SIMILAR = {
    "gray": "grey",
    "greys": "grey",
    "grays": "grey",
    "greyscale": "grey",
    "grayscale": "grey",
    "inferno": "magma",
    "plasma": "magma",
    "hot": "magma",
    "jet": "turbo",
    "rainbow": "turbo",
    "hsv": "turbo",
}


def color_map_named(name: str | None) -> str:
    """The one of `COLOR_MAPS` that a pipeline's word for it means; viridis when it means nothing here."""
    word = (name or "").strip().lower()
    return word if word in COLOR_MAPS else _SIMILAR.get(word, "viridis")


def mask_layer(items: Sequence[tuple[Raster, int]], frame: Frame, palette: Sequence[str]) -> bytes:
    """Run-length masks over an image of this frame as one palette PNG, later ones on top.

    Each item is a mask with `runs` and its index in `palette` (`#rrggbb`, at most 127 colours). The inside is
    half transparent, the edge opaque, so that neighbours of one class stay apart. A mask of another size is
    stretched. The PNG is the size of the frame, or smaller in proportion: neither side above 4096.
    """
    width, height = _layer_size(items, frame)
    canvas = np.zeros((height, width), dtype=np.uint8)
    for raster, index in items:
        _stamp(canvas, raster, index, len(palette))
    colours = b"".join(bytes.fromhex(colour.removeprefix("#")) for colour in palette)
    count = len(palette)
    alphas = bytes([0]) + bytes([FILL_ALPHA] * count) + bytes([EDGE_ALPHA] * count)
    return _palette_png(canvas, bytes(3) + colours + colours, alphas)


def _layer_size(items: Sequence[tuple[Raster, int]], frame: Frame) -> tuple[int, int]:
    boxes = [(raster, raster_box(raster)) for raster, _ in items]
    shares = [(b[2] - b[0]) * (b[3] - b[1]) / (r.width * r.height) for r, b in boxes if b is not None]
    work = sum(shares) * frame.width * frame.height
    factor = min(1.0, MAX_SIDE / max(frame), math.sqrt(MAX_WORK / work) if work > 0 else 1.0)
    return max(1, round(frame.width * factor)), max(1, round(frame.height * factor))


def _stamp(canvas: Bytes, raster: Raster, index: int, colours: int) -> None:
    """Draws one mask: its colour plus one inside, and `colours` more on its edge."""
    height, width = canvas.shape
    box = raster_box(raster)
    if box is None:
        return
    if (raster.width, raster.height) == (width, height):
        crop = decode_crop(raster)
        assert crop is not None  # it has a box
        (left, top, _, _), inside = crop
    else:
        left, top, inside = _stretched(raster, box, width, height)
    target = canvas[top : top + inside.shape[0], left : left + inside.shape[1]]
    target[inside] = 1 + index
    target[_edge(inside)] = 1 + colours + index


def _stretched(
    raster: Raster, box: tuple[int, int, int, int], width: int, height: int
) -> tuple[int, int, Bits]:
    """Left, top and the mask where it covers a canvas of this size, by the nearest pixel."""
    across, down = width / raster.width, height / raster.height
    columns = np.arange(math.floor(box[0] * across), min(width, math.ceil(box[2] * across)))
    rows = np.arange(math.floor(box[1] * down), min(height, math.ceil(box[3] * down)))
    source_columns = np.minimum((columns + 0.5) / across, raster.width - 1).astype(np.int64)
    source_rows = np.minimum((rows + 0.5) / down, raster.height - 1).astype(np.int64)
    return int(columns[0]), int(rows[0]), sample(raster, source_columns, source_rows)


def _edge(inside: Bits) -> Bits:
    """The pixels of a mask that have a neighbour outside it."""
    core = np.zeros_like(inside)
    core[1:-1, 1:-1] = (
        inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    )
    return inside & ~core


def recolour(source: BinaryIO | bytes, color_map: str | None) -> bytes:
    """A heatmap PNG ready to lay over an image; `color_map` as `color_map_named` understands it.

    Grey pictures (1 to 16 bits, 16 scaled to 8) become 8-bit index PNGs with the colour map as palette, more
    opaque the higher the value. A picture with colours of its own (RGB, palette) is written again as it is.
    Neither side is above 4096 afterwards. Raises InvalidPayload for anything but a sound PNG of at most 100
    megapixels.
    """
    picture = _shrunk(_opened(source), averaged=True)
    colours = COLOR_MAPS[color_map_named(color_map)]
    values, alpha = _grey(picture)
    if values is None:
        return _encoded(_in_colour(picture))
    if alpha is None:
        return _palette_png(values, colours.tobytes(), bytes(range(256)))
    return _encoded(Image.fromarray(np.dstack([colours[values], np.minimum(values, alpha)]), "RGBA"))


def colour_mask(source: BinaryIO | bytes, index: int, palette: Sequence[str]) -> bytes:
    """A segmentation PNG ready to lay over an image: 0 is transparent, the rest half transparent in a colour.

    A grey picture is one thing in the colour at `index`; when it holds several values, none above 64, they
    are labels, and label n has the colour n - 1 steps after `index`. Pictures in colour keep theirs, with
    black (or what is transparent already) transparent. Size and errors are those of `recolour`.
    """
    picture = _shrunk(_opened(source), averaged=False)
    values, alpha = _labels(picture)
    if values is None:
        return _encoded(_without_black(_in_colour(picture)))
    if alpha is not None:
        values = np.where(alpha > 0, values, 0)
    top = int(values.max(initial=0))
    several = top <= LARGEST_LABEL and np.unique(values).size > 2
    labels = (values if several else values > 0).astype(np.uint8)
    chosen = [palette[(index + step) % len(palette)] for step in range(top if several else 1)]
    table = bytes(3) + b"".join(bytes.fromhex(colour.removeprefix("#")) for colour in chosen)
    return _palette_png(labels, table, bytes([0]) + bytes([FILL_ALPHA] * len(chosen)))


_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def _opened(source: BinaryIO | bytes) -> Image.Image:
    """The decoded picture, or InvalidPayload; its size is checked before any pixel is."""
    try:
        picture = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=["PNG"])
        if picture.width * picture.height > MAX_PIXELS:
            raise InvalidPayload(f"The picture has more than {MAX_PIXELS} pixels.")
        picture.load()
    except _BROKEN:
        raise InvalidPayload("The artifact is not a sound PNG picture.") from None
    return picture


def _shrunk(picture: Image.Image, *, averaged: bool) -> Image.Image:
    """The picture with neither side above 4096: pixels averaged where colours allow it, or picked."""
    factor = MAX_SIDE / max(picture.size)
    if factor >= 1:
        return picture
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    if not averaged or picture.mode in ("1", "P") or "transparency" in picture.info:
        return picture.resize(size, Image.Resampling.NEAREST)
    small, step = Image.new(picture.mode, size), picture.height / size[1]
    for top in range(0, size[1], BAND):
        bottom = min(top + BAND, size[1])
        first, last = top * step, min(bottom * step, picture.height)
        above = math.floor(first)
        strip = picture.crop((0, above, picture.width, math.ceil(last)))
        inside = (0, first - above, picture.width, last - above)
        small.paste(strip.resize((size[0], bottom - top), Image.Resampling.BOX, box=inside), (0, top))
    return small


def _labels(picture: Image.Image) -> tuple[Values | None, Bytes | None]:
    """The values of a grey picture as they are, and its alpha; None for one in colour."""
    mode = picture.mode
    if mode == "LA":
        grey, alpha = picture.split()
        return np.asarray(grey, dtype=np.uint8), np.asarray(alpha, dtype=np.uint8)
    if mode in ("1", "L"):
        return np.asarray(picture, dtype=np.uint8), None
    if mode.startswith("I"):
        return np.clip(np.asarray(picture), 0, 65535).astype(np.uint16), None
    return None, None


def _grey(picture: Image.Image) -> tuple[Bytes | None, Bytes | None]:
    """The values of a grey picture spread over 0 to 255, and its alpha; None for one in colour."""
    values, alpha = _labels(picture)
    if values is None:
        return None, None
    if picture.mode == "1":
        return (values * 255).astype(np.uint8), alpha
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8), alpha
    return values.astype(np.uint8), alpha


def _in_colour(picture: Image.Image) -> Image.Image:
    """A copy without metadata: RGB, or RGBA where anything is transparent."""
    clear = "A" in picture.mode or "transparency" in picture.info
    return Image.fromarray(np.asarray(picture.convert("RGBA" if clear else "RGB")))


def _without_black(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGBA":
        return picture
    colours = np.asarray(picture)
    alpha = np.where(colours.any(axis=2), FILL_ALPHA, 0).astype(np.uint8)
    return Image.fromarray(np.dstack([colours, alpha]), "RGBA")


def _palette_png(values: Bytes, table: bytes, alphas: bytes) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(values), "L")
    picture.putpalette(table)
    return _encoded(picture, transparency=alphas)


def _encoded(picture: Image.Image, **more: bytes) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=3, **more)
    return out.getvalue()
