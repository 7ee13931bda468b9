// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 59: Characters and vocabularies
//
// A tokenizer asks a few questions about text that the C++ library does not answer: where does a character of UTF-8 end, is it a letter, what is its lower case, what remains of it without accents? The answers are Unicode's tables. Only the parts that
// module 10 needs are here: seven classes, simple lower case, canonical decomposition without the marks. Behind them stand what all tokenizers share: their interface, the list of tokens, and the reader of its JSON form.
//
//     bytes  c3 a9 20 ff 41      decode_at        code points  U+00E9 'é'   U+0020   (invalid)   U+0041 'A'
//                                char_class       classes      Letter       Space    Other       Letter
//                                lower_case       lower        é            ' '                  a
//                                append_base      base         e            ' '                  A

// %%
//| after 08
//| export text/unicode.h
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
//| export text/unicode.cpp
//| export text/unicode_tables.cpp
#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <vector>
#include "tinytorch/text/unicode.h"
//| export text/vocabulary.h
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>
#include "tinytorch/core/array_ref.h"
//| export text/vocabulary.cpp
#include "tinytorch/core/error.h"
//| export text/vocabulary_files.h
#include <string>
#include <string_view>
#include <vector>
//| export text/vocabulary_files.cpp
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>
#include "tinytorch/core/error.h"
#include "tinytorch/serialize/file.h"

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <string>
#include <vector>

// %%
namespace tinytorch {

// %%
//| export text/unicode.h
namespace text {

// A character of a text. What is no UTF-8 (a stray byte, an overlong or cut-off form, a surrogate) counts as one invalid byte.
struct CodePoint {
  char32_t value = 0xfffd;  // U+FFFD for an invalid byte
  std::size_t length = 1;   // in bytes
  bool valid = false;
};

// The character that begins at byte `position`. REQUIRES: position < text.size(). O(1).
CodePoint decode_at(std::string_view text, std::size_t position);
// Appends the UTF-8 form of `c`, one to four bytes; of U+FFFD for what is no code point.
void append_utf8(std::string& out, char32_t c);
// Whole texts. An invalid byte becomes U+FFFD, so only valid text survives both ways. O(size).
std::u32string to_utf32(std::string_view text);
std::string to_utf8(std::u32string_view text);

// What a tokenizer has to tell apart: Unicode's categories L, N, P, Mn; the property White_Space; Cc, Cf and Co, unless they are Space.
enum class CharClass : std::uint8_t { Letter, Number, Space, Punctuation, Mark, Control, Other };

// O(1): two steps through a table of pages.
CharClass char_class(char32_t c);
// The simple lower case of `c`, or `c`. O(log n).
char32_t lower_case(char32_t c);
// Appends the canonical decomposition of `c` without nonspacing marks (Mn): "e" for U+00E9, nothing for U+0301, the Jamo of a Hangul syllable, else `c` itself. O(log n).
void append_base(std::u32string& out, char32_t c);

}  // namespace text

// %% [markdown]
// UTF-8 marks the first byte of a character by its upper bits, which also say how many bytes follow; these begin with `10`. Not every such sequence is allowed: a form longer than needed could smuggle a character past a check that looks at bytes (`c0 af` for `/`), and surrogates belong to UTF-16.
//
//     0xxxxxxx                                 U+0000 ..   U+007F
//     110xxxxx 10xxxxxx                        U+0080 ..   U+07FF
//     1110xxxx 10xxxxxx 10xxxxxx               U+0800 ..   U+FFFF   without D800 .. DFFF
//     11110xxx 10xxxxxx 10xxxxxx 10xxxxxx     U+10000 .. U+10FFFF

// %%
//| export text/unicode.cpp
text::CodePoint text::decode_at(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(position);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() - position < length) return {};
  char32_t value = lead & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(position + i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(position + i) & 0x3f);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return {};
  return {value, length, true};
}

void text::append_utf8(std::string& out, char32_t c) {
  if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = 0xfffd;
  const auto append = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) {
    append(c);
  } else if (c < 0x800) {
    append(0xc0 | c >> 6);
    append(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    append(0xe0 | c >> 12);
    append(0x80 | (c >> 6 & 0x3f));
    append(0x80 | (c & 0x3f));
  } else {
    append(0xf0 | c >> 18);
    append(0x80 | (c >> 12 & 0x3f));
    append(0x80 | (c >> 6 & 0x3f));
    append(0x80 | (c & 0x3f));
  }
}

std::u32string text::to_utf32(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    out += c.value;
    at += c.length;
  }
  return out;
}

std::string text::to_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

// %%
TEST_CASE("UTF-8: each length, its limits, and what is refused byte by byte") {
  for (const char32_t c : {U'\0', U'A', U'\x7f', U'\x80', U'\x7ff', U'\x800', U'\xd7ff', U'\xe000', U'\xffff', U'\x10000', U'\x10ffff'}) {
    std::string text;
    text::append_utf8(text, c);
    const text::CodePoint back = text::decode_at(text, 0);
    CHECK(back.valid);
    CHECK_EQ(static_cast<std::uint32_t>(back.value), static_cast<std::uint32_t>(c));
    CHECK_EQ(back.length, text.size());
  }
  CHECK_EQ(text::to_utf8(U"a\u00e9\u20ac\U0001f600"), "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  // Overlong, stray, cut off, surrogate, beyond the last one.
  for (const char* bad : {"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\x80", "\xff", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3("}) {
    const text::CodePoint c = text::decode_at(bad, 0);
    CHECK_FALSE(c.valid);
    CHECK_EQ(c.length, 1);
  }
  CHECK_EQ(text::to_utf8(text::to_utf32("a\xff z")), "a\xef\xbf\xbd z");
}

// %% [markdown]
// ### The tables
//
// The classes of all 1,114,112 code points are runs of equal ones; written as a letter and a length they take 5 KB of source. `make_tables.py`, beside this file, writes the next cell from the Unicode Character Database. At the first call
// the runs are laid out in pages of 256, of which equal ones are kept once.
//
//     c -- c >> 8 --> number of the page -- c & 255 --> class

// %%
//| export text/unicode_tables.cpp
namespace {
// Made by make_tables.py from the Unicode Character Database 18.0.0.
// From U+0000 on: the class of a run of code points, and how many there are if more than one.
constexpr std::string_view kClassRuns =
    "c9s5c18sp3xp6xp4n10p2x3p2l26p3xpxl26pxpxc6sc26spx5px2lpxcx4n2xlp2xnlpn3pl23xl31xl458x4l12x14l5x7lxlx"
    "17m112l5xl2x2l4plx6lpl3xlxl20xl83xl139xm5x2l166xl38xl2p6l41p2l2x4m45pmpm2pm2pm3x6l27x4l4p2x11c6x3p2x"
    "p2x2m11pcp3l43m21n10p4l2ml99plm7cxm6l2m2xm4l2n10l3x2lp14xclml30m27x2l89m11lx14n10l33m9l2xp3lx2mx2l22"
    "m4lm9lm3lm5x2p15xl25m3x2pxl11x5l24xl7c2x5m9l42m24cm32xl54mxmlx3m8x4mx2lm7l10m2p2n10pl16mx3l8x2l2x2l2"
    "2xl7xlx3l4x2mlx3m4x8mlx13l2xl3m2x2n10l2x2n6x2lpmx2m2x2l6x4l2x2l22xl7xl2xl2xl2x2mx4m2x4m2x2m3x3mx7l4x"
    "lx7n10m2l3mpx10m2x2l9xl3xl22xl7xl2xl5x2mlx3m5xm2x4mx2lx15l2m2x2n10px8lm6xmx3l8x2l2x2l22xl7xl2xl5x2ml"
    "xmxm4x8mx5m4x5l2xl3m2x2n10xln6x10mlxl6x3l3xl4x3l2xlxl2x3l2x3l3x3l12x6mx12mx2lx21n13x13mx3ml8xl3xl23x"
    "l16x2mlm3x5m3xm4x7m2xl3xl2x2l2m2x2n10x7pn7xlmx2pl8xl3xl23xl10xl5x2mlxmx6mx5m2x14l3xl2m2x2n10xl2x13m2"
    "x2l9xl3xl41m2lx3m4x8mlx5l3xn7l3m2x2n19xl6xmx3l18x3l24xl9xlx2l7x3mx7m3xmx15n10x4px12l48ml2m7x5l7m8pn1"
    "0p2x37l2xlxl5xl24xlxl10ml2m9lx2l5xlxm7xn10x2l4x32lx3p15xpx3m2x6n20xmxmxmp4x2l8xl36x4m14xm5pm2l5m11xm"
    "36x9mx9p5x4p2x37l43x2m4xm6xm2x2m2ln10p6l6x2m2l4m3lx3l2x7l3m4l13mx2m2x6mlxn10x3mx2l38xlx5lx2l43pl333x"
    "l4x2l7xlxl4x2l41xl4x2l33xl4x2l7xlxl4x2l15xl57xl4x2l67x2m3p9n20x3l16x16l86x2l6x2pl620xpl17sl26p2x3l75"
    "p3n3l8x7l18m3x10l19m2xp2x9l18m2x12l13xl3xm2x12l52m2xm7x8mx2m11p3lp3xlmx2n10x6n10x6p11m3cmn10x6l89x7l"
    "5m2l34mlx5l70x10l31xm3x4m2x9mx6m3x8p2n10l30x2l5x11l44x4l26x6n11x37l23m2x2mx2p2l53xmxm7xmxmx2m8x6m10x"
    "2mn10x6n10x6p7lp6x2m14xm50x15m4xl47mxm5xmx5mx2l8xp2n10p7x10m9x9p3m2xl30xm4x2m2xm3l2n10l44mxm2x3mxm3x"
    "10p4l36x8m8x2m2x3p5n10x3l3n10l36p2l11x5l43x2l3p8x8m3pm13xm7l4ml6ml2xm2lx5l192m64l278x2l6x2l38x2l6x2l"
    "8xlxlxlxl31x2l53xl7xlx3l3xl7x3l4x2l6x4l13x5l3xl7x3s11c5p24s2c5sp20xp13xp12sc5xc10nlx2n6x3p2ln10x3p2l"
    "17x48m13x4mx3m12x17lx4lx2l10xlx3l5x6lxlxlxl4xl11x2l4x5l5x4lxn51l2n5x382p4x29p2x309n60x78n22x616p14n3"
    "0x49p2x31p10x403p22x63p4x32p2x514l229x6l4m3l2x5p4np2l38xlx5lx2l56x7lpx14ml23x9l7xl7xl7xl7xl7xl7xl7xl"
    "7xm32p47lp32x2p12x2p4x412sp3xl2np10x2p12xn9m4x2pl5x2n3l2px3l86x2m2x2l3pl90pl4x5l43xl94x3n4x10l32x48l"
    "16x32n10x30n8xn15x32n10x39n15x320l6592x64l22157x67l46p2l269p3l16n10l2x20l47mx3pm10pl31m2l70n10m2p6x3"
    "1l9x2l103x2l83x4lx14l17ml3ml4ml23x2m2x5mx3n6x10l52p4x10l50x16m2x8p2n10x6m18l6p3lpl2mn10l28m8p2l23m11"
    "x13pl29x3m3xl47mx2m4x2m2x3p13xln10x4p2l5ml10n10l5xl41m6x2m2x2m2x9l3ml8mx3n10x2p4l23x3lxmxl50mlm3l2m2"
    "l5m2lmlx24l3p2l11xm2x2p2l3xmx10l6x2l6x2l6x9l7xl7xl43xl14x2l2x2l115x2mx2mx2pxmx2n10x6l11172x12l23x4l4"
    "9x2052c6400l366x2l106x38l7x12l5x5lml10xl13xl5xlxl2xl2xl108x33l363p2x16l64x2l54x40l12x4m16p10x6m16p35"
    "xp14xpx4pxp2x4l5xl135x2cxp3xp6xp4n10p2x3p2l26p3xpxl26pxpxp7l89x3l6x2l6x2l6x2l3x28c3x4l12xl26xl19xl2x"
    "l15x2l14x34l123x5p3x4n45x12n57x17n2x113mx130l29x3l49x15mn27x4l32n4x9l20nl8nx5l38m5x5l30xpl36x4l8pn5x"
    "42l158x2n10x6l36x4l36x4l40x8l52x11pl11xl15xl7xl2xl11xl15xl7xl2x3l52x12l311x9l22x10l8x24l6xl42xl14x64"
    "l6x2lxl44xl2x3lx2l23xpn8l23x2n7l31x8n9x48l19xl2x5n5l22n6x3pl26x5pl26x38l56x4n2l2n16x2n46lm3xm2x5m4l4"
    "xl3xl29x2m3x4mn9x7p9x7l29n2pl29n3x32l8xl28m2x4n5p7x9l54x3p7l22x2n8l19x5n8l18x7p4x12n7x80l73x55l51x13"
    "l51x7n6l36m4x8n10x6n10l28x3m5pl23x218n31xl42xm2px2l2x16l6x3m5px8l22xm16l29n10lx8l22m11n4p5x22l18m4p4"
    "x38l21n7x20l23x10mxl53m15p7x4n30ml2m2lx9m3xl45x3m4x2m2p2cp4mx10cx2l25x7n10x6m3l36m5xm8xn10p4lx2lx8l3"
    "5mp2lx9m2xl48x3m9x2l4p4m4pxmn10lplp3xn20x11l18xl25x3m3x2mxm2p6ml2mx62l7xlxl4xl15xl10px6l47mx3m8x5n10"
    "x6m2x3l8x2l2x2l22xl7xl2xl5xm2lx2mx15lx12l5x4m7x3m5x11l10xlx2lxl38xlx3m6x13mxmlmlp2xp2x8m2x29l53x3m8x"
    "2m3xml4p5n10p2xpml3x30l48x3m6xmx4m2xm2l2plx8n10x166l47x3m4x6m2xm2p23l4m2x34l48x3m8x2mxm2p3lx11n10x6p"
    "13x19l43mxmx2m6xmlpx6n10x6n20x28l27x2mxmx2m4xm5x4n12p3xl7x185l44x3m9xm2px100l64n19x12l8x2lx2l8xl2xl2"
    "4x11m2xmlxlxmp3x9n10x70l8x2l39x3m4x2m2x4mlplx28lm10l40m6xlm4p8mx8lm6x2m3l46m13xm2p3lp5x13l73x7p10lx8"
    "5mxm3xmx89l33px14n10x6l9xl37xm7xm6xmlp5x10n29x3p2l30x2m22x2m7xm2xm2x73l7xl2xl38m6x3mxm2xm7lmx8n10x6l"
    "6xl2xl32x6m2x3mxmlx7n10x6l44x4n10x6mlx238l19m2x2p2x7m2lxl13xl34x2m5x5mxmp13n10mx85lx15n21x42pl922x10"
    "2n112p5n11l196x12n311x2313l97p2x13l1072c16ml6m15x10l3995x5l583x6841l30m12x3m3n10x1734l569x7l31xn10x4"
    "p2l79xn10x6l30x2m5px10l48m7p5x4l4px11n10xn7xl21x5l19x432l45p3n10x198l64n23p4x5l25x2l25x44l75x4mlx62m"
    "4l13x64l2plmx13l2n3x9l7387x36l34x95l115x13l914x14l51x7709l4xl7xl2xl297x9lx29l3x2lx14l5x7l396x2308l10"
    "7x5l13x3l9x7l10x3m2pc4x4172n10x518m46x2m23x480m2x62m3x9c8m8x2m7x30m4x148m3x22m2x99n20x12n20x108n25x1"
    "35l85xl71xl2x2lx2l2x2l4xl12xlxl7xl65xl4x2l8xl7xl28xl4xl5xlx3l7xl341xl25xl25xl31xl25xl31xl25xl31xl25x"
    "l31xl25xl8x2n50x512m55x4m50x8mx14mx2p5x15m5xm15x1104l130x14l7x54l51m7xm17x2m7xm2xm5x5l62x33mx112l45x"
    "3m7l7x2n10x4lx321l30mx17l44m4n10x470l28m4n10x214l30m2ln10x4px192l31xl3ml2ml7m2l5mx8l2x224l7xl4xl2xl1"
    "5xl197x2n9m7x41l68m7lx4n10x4p2x785n59xn3xn4x76n45xn15x194l4xl27xl2xlx2lxl10xl4xlxlx6lx4lxlxlxl3xl2xl"
    "x2lxlxlxlxlxl2xlx2l4xl7xl4xl4xlxl10xl17x5l3xl5xl17x580n13x2787n10x1030l42720x32l4383xl5774x2l7473x15"
    "l622x2466l542x1506l4939x5l8490x39814l11328x656321cx30c96x128m240x65040c65534x2c65534x2";

// `count` code points from `first` on, `step` apart, become `target`, `target` + `target_step`, ...
struct MappedRun {
  char32_t first;
  std::int32_t count;
  std::int32_t step;
  char32_t target;
  std::int32_t target_step;
};
// Simple lower case.
constexpr MappedRun kLowerRuns[] = {
    {0x41, 26, 1, 0x61, 1}, {0xc0, 23, 1, 0xe0, 1}, {0xd8, 7, 1, 0xf8, 1}, {0x100, 24, 2, 0x101, 2},
    {0x132, 3, 2, 0x133, 2}, {0x139, 8, 2, 0x13a, 2}, {0x14a, 23, 2, 0x14b, 2}, {0x178, 2, 1, 0xff, 123},
    {0x17b, 2, 2, 0x17c, 2}, {0x181, 2, 1, 0x253, -208}, {0x184, 2, 2, 0x185, 207},
    {0x187, 2, 2, 0x188, 206}, {0x18a, 2, 1, 0x257, -203}, {0x18e, 2, 1, 0x1dd, 124},
    {0x190, 2, 1, 0x25b, -201}, {0x193, 2, 1, 0x260, 3}, {0x196, 2, 1, 0x269, -1}, {0x198, 1, 1, 0x199, 0},
    {0x19c, 2, 1, 0x26f, 3}, {0x19f, 2, 1, 0x275, -212}, {0x1a2, 2, 2, 0x1a3, 2}, {0x1a6, 2, 1, 0x280, -216},
    {0x1a9, 1, 1, 0x283, 0}, {0x1ac, 2, 2, 0x1ad, 219}, {0x1af, 2, 2, 0x1b0, 218},
    {0x1b2, 2, 1, 0x28b, -215}, {0x1b5, 2, 2, 0x1b6, 220}, {0x1b8, 1, 1, 0x1b9, 0}, {0x1bc, 1, 1, 0x1bd, 0},
    {0x1c4, 2, 1, 0x1c6, 0}, {0x1c7, 2, 1, 0x1c9, 0}, {0x1ca, 2, 1, 0x1cc, 0}, {0x1cd, 8, 2, 0x1ce, 2},
    {0x1de, 9, 2, 0x1df, 2}, {0x1f1, 2, 1, 0x1f3, 0}, {0x1f4, 2, 2, 0x1f5, -96}, {0x1f7, 2, 1, 0x1bf, 58},
    {0x1fa, 19, 2, 0x1fb, 2}, {0x220, 2, 2, 0x19e, 133}, {0x224, 8, 2, 0x225, 2},
    {0x23a, 2, 1, 0x2c65, -10793}, {0x23d, 2, 1, 0x19a, 10956}, {0x241, 2, 2, 0x242, -194},
    {0x244, 2, 1, 0x289, 3}, {0x246, 5, 2, 0x247, 2}, {0x370, 2, 2, 0x371, 2}, {0x376, 1, 1, 0x377, 0},
    {0x37f, 1, 1, 0x3f3, 0}, {0x386, 2, 2, 0x3ac, 1}, {0x389, 2, 1, 0x3ae, 1}, {0x38c, 2, 2, 0x3cc, 1},
    {0x38f, 2, 2, 0x3ce, -29}, {0x392, 16, 1, 0x3b2, 1}, {0x3a3, 9, 1, 0x3c3, 1}, {0x3cf, 1, 1, 0x3d7, 0},
    {0x3d8, 12, 2, 0x3d9, 2}, {0x3f4, 1, 1, 0x3b8, 0}, {0x3f7, 2, 2, 0x3f8, -6}, {0x3fa, 1, 1, 0x3fb, 0},
    {0x3fd, 3, 1, 0x37b, 1}, {0x400, 16, 1, 0x450, 1}, {0x410, 32, 1, 0x430, 1}, {0x460, 17, 2, 0x461, 2},
    {0x48a, 27, 2, 0x48b, 2}, {0x4c0, 2, 1, 0x4cf, -13}, {0x4c3, 6, 2, 0x4c4, 2}, {0x4d0, 48, 2, 0x4d1, 2},
    {0x531, 38, 1, 0x561, 1}, {0x10a0, 38, 1, 0x2d00, 1}, {0x10c7, 1, 1, 0x2d27, 0},
    {0x10cd, 1, 1, 0x2d2d, 0}, {0x13a0, 80, 1, 0xab70, 1}, {0x13f0, 6, 1, 0x13f8, 1},
    {0x1c90, 43, 1, 0x10d0, 1}, {0x1cbd, 3, 1, 0x10fd, 1}, {0x1e00, 75, 2, 0x1e01, 2},
    {0x1e9e, 2, 2, 0xdf, 7618}, {0x1ea2, 47, 2, 0x1ea3, 2}, {0x1f08, 8, 1, 0x1f00, 1},
    {0x1f18, 6, 1, 0x1f10, 1}, {0x1f28, 8, 1, 0x1f20, 1}, {0x1f38, 8, 1, 0x1f30, 1},
    {0x1f48, 6, 1, 0x1f40, 1}, {0x1f59, 4, 2, 0x1f51, 2}, {0x1f68, 8, 1, 0x1f60, 1},
    {0x1f88, 8, 1, 0x1f80, 1}, {0x1f98, 8, 1, 0x1f90, 1}, {0x1fa8, 8, 1, 0x1fa0, 1},
    {0x1fb8, 2, 1, 0x1fb0, 1}, {0x1fba, 2, 1, 0x1f70, 1}, {0x1fbc, 1, 1, 0x1fb3, 0},
    {0x1fc8, 4, 1, 0x1f72, 1}, {0x1fcc, 1, 1, 0x1fc3, 0}, {0x1fd8, 2, 1, 0x1fd0, 1},
    {0x1fda, 2, 1, 0x1f76, 1}, {0x1fe8, 2, 1, 0x1fe0, 1}, {0x1fea, 2, 1, 0x1f7a, 1},
    {0x1fec, 1, 1, 0x1fe5, 0}, {0x1ff8, 2, 1, 0x1f78, 1}, {0x1ffa, 2, 1, 0x1f7c, 1},
    {0x1ffc, 1, 1, 0x1ff3, 0}, {0x2126, 1, 1, 0x3c9, 0}, {0x212a, 2, 1, 0x6b, 122},
    {0x2132, 1, 1, 0x214e, 0}, {0x2160, 16, 1, 0x2170, 1}, {0x2183, 1, 1, 0x2184, 0},
    {0x24b6, 26, 1, 0x24d0, 1}, {0x2c00, 48, 1, 0x2c30, 1}, {0x2c60, 2, 2, 0x2c61, -10742},
    {0x2c63, 2, 1, 0x1d7d, -6912}, {0x2c67, 3, 2, 0x2c68, 2}, {0x2c6d, 2, 1, 0x251, 32},
    {0x2c6f, 2, 1, 0x250, 2}, {0x2c72, 1, 1, 0x2c73, 0}, {0x2c75, 1, 1, 0x2c76, 0}, {0x2c7e, 2, 1, 0x23f, 1},
    {0x2c80, 50, 2, 0x2c81, 2}, {0x2ceb, 2, 2, 0x2cec, 2}, {0x2cf2, 1, 1, 0x2cf3, 0},
    {0xa640, 23, 2, 0xa641, 2}, {0xa680, 14, 2, 0xa681, 2}, {0xa722, 7, 2, 0xa723, 2},
    {0xa732, 31, 2, 0xa733, 2}, {0xa779, 2, 2, 0xa77a, 2}, {0xa77d, 2, 1, 0x1d79, 35334},
    {0xa780, 4, 2, 0xa781, 2}, {0xa78b, 2, 2, 0xa78c, -42279}, {0xa790, 2, 2, 0xa791, 2},
    {0xa796, 10, 2, 0xa797, 2}, {0xa7aa, 2, 1, 0x266, -10}, {0xa7ac, 2, 1, 0x261, 11},
    {0xa7ae, 2, 2, 0x26a, 52}, {0xa7b1, 2, 1, 0x287, 22}, {0xa7b3, 2, 1, 0xab53, -926},
    {0xa7b6, 7, 2, 0xa7b7, 2}, {0xa7c4, 2, 1, 0xa794, -42258}, {0xa7c6, 2, 1, 0x1d8e, 35386},
    {0xa7c9, 1, 1, 0xa7ca, 0}, {0xa7d0, 1, 1, 0xa7d1, 0}, {0xa7d6, 2, 2, 0xa7d7, 2},
    {0xa7f5, 1, 1, 0xa7f6, 0}, {0xff21, 26, 1, 0xff41, 1}, {0x10400, 40, 1, 0x10428, 1},
    {0x104b0, 36, 1, 0x104d8, 1}, {0x10570, 11, 1, 0x10597, 1}, {0x1057c, 15, 1, 0x105a3, 1},
    {0x1058c, 7, 1, 0x105b3, 1}, {0x10594, 2, 1, 0x105bb, 1}, {0x10c80, 51, 1, 0x10cc0, 1},
    {0x118a0, 32, 1, 0x118c0, 1}, {0x16e40, 32, 1, 0x16e60, 1}, {0x1e900, 34, 1, 0x1e922, 1}};
// The canonical decomposition without nonspacing marks, where that is one other character.
constexpr MappedRun kBaseRuns[] = {
    {0xc0, 6, 1, 0x41, 0}, {0xc7, 2, 1, 0x43, 2}, {0xc9, 3, 1, 0x45, 0}, {0xcc, 4, 1, 0x49, 0},
    {0xd1, 2, 1, 0x4e, 1}, {0xd3, 4, 1, 0x4f, 0}, {0xd9, 4, 1, 0x55, 0}, {0xdd, 1, 1, 0x59, 0},
    {0xe0, 6, 1, 0x61, 0}, {0xe7, 2, 1, 0x63, 2}, {0xe9, 3, 1, 0x65, 0}, {0xec, 4, 1, 0x69, 0},
    {0xf1, 2, 1, 0x6e, 1}, {0xf3, 4, 1, 0x6f, 0}, {0xf9, 4, 1, 0x75, 0}, {0xfd, 2, 2, 0x79, 0},
    {0x100, 2, 1, 0x41, 32}, {0x102, 2, 1, 0x41, 32}, {0x104, 2, 1, 0x41, 32}, {0x106, 2, 1, 0x43, 32},
    {0x108, 2, 1, 0x43, 32}, {0x10a, 2, 1, 0x43, 32}, {0x10c, 2, 1, 0x43, 32}, {0x10e, 2, 1, 0x44, 32},
    {0x112, 2, 1, 0x45, 32}, {0x114, 2, 1, 0x45, 32}, {0x116, 2, 1, 0x45, 32}, {0x118, 2, 1, 0x45, 32},
    {0x11a, 2, 1, 0x45, 32}, {0x11c, 2, 1, 0x47, 32}, {0x11e, 2, 1, 0x47, 32}, {0x120, 2, 1, 0x47, 32},
    {0x122, 2, 1, 0x47, 32}, {0x124, 2, 1, 0x48, 32}, {0x128, 2, 1, 0x49, 32}, {0x12a, 2, 1, 0x49, 32},
    {0x12c, 2, 1, 0x49, 32}, {0x12e, 2, 1, 0x49, 32}, {0x130, 1, 1, 0x49, 0}, {0x134, 2, 1, 0x4a, 32},
    {0x136, 2, 1, 0x4b, 32}, {0x139, 2, 1, 0x4c, 32}, {0x13b, 2, 1, 0x4c, 32}, {0x13d, 2, 1, 0x4c, 32},
    {0x143, 2, 1, 0x4e, 32}, {0x145, 2, 1, 0x4e, 32}, {0x147, 2, 1, 0x4e, 32}, {0x14c, 2, 1, 0x4f, 32},
    {0x14e, 2, 1, 0x4f, 32}, {0x150, 2, 1, 0x4f, 32}, {0x154, 2, 1, 0x52, 32}, {0x156, 2, 1, 0x52, 32},
    {0x158, 2, 1, 0x52, 32}, {0x15a, 2, 1, 0x53, 32}, {0x15c, 2, 1, 0x53, 32}, {0x15e, 2, 1, 0x53, 32},
    {0x160, 2, 1, 0x53, 32}, {0x162, 2, 1, 0x54, 32}, {0x164, 2, 1, 0x54, 32}, {0x168, 2, 1, 0x55, 32},
    {0x16a, 2, 1, 0x55, 32}, {0x16c, 2, 1, 0x55, 32}, {0x16e, 2, 1, 0x55, 32}, {0x170, 2, 1, 0x55, 32},
    {0x172, 2, 1, 0x55, 32}, {0x174, 2, 1, 0x57, 32}, {0x176, 2, 1, 0x59, 32}, {0x178, 2, 1, 0x59, 1},
    {0x17a, 2, 1, 0x7a, -32}, {0x17c, 2, 1, 0x7a, -32}, {0x17e, 1, 1, 0x7a, 0}, {0x1a0, 2, 1, 0x4f, 32},
    {0x1af, 2, 1, 0x55, 32}, {0x1cd, 2, 1, 0x41, 32}, {0x1cf, 2, 1, 0x49, 32}, {0x1d1, 2, 1, 0x4f, 32},
    {0x1d3, 2, 1, 0x55, 32}, {0x1d5, 2, 1, 0x55, 32}, {0x1d7, 2, 1, 0x55, 32}, {0x1d9, 2, 1, 0x55, 32},
    {0x1db, 2, 1, 0x55, 32}, {0x1de, 2, 1, 0x41, 32}, {0x1e0, 2, 1, 0x41, 32}, {0x1e2, 2, 1, 0xc6, 32},
    {0x1e6, 2, 1, 0x47, 32}, {0x1e8, 2, 1, 0x4b, 32}, {0x1ea, 2, 1, 0x4f, 32}, {0x1ec, 2, 1, 0x4f, 32},
    {0x1ee, 2, 1, 0x1b7, 219}, {0x1f0, 1, 1, 0x6a, 0}, {0x1f4, 2, 1, 0x47, 32}, {0x1f8, 2, 1, 0x4e, 32},
    {0x1fa, 2, 1, 0x41, 32}, {0x1fc, 2, 1, 0xc6, 32}, {0x1fe, 2, 1, 0xd8, 32}, {0x200, 2, 1, 0x41, 32},
    {0x202, 2, 1, 0x41, 32}, {0x204, 2, 1, 0x45, 32}, {0x206, 2, 1, 0x45, 32}, {0x208, 2, 1, 0x49, 32},
    {0x20a, 2, 1, 0x49, 32}, {0x20c, 2, 1, 0x4f, 32}, {0x20e, 2, 1, 0x4f, 32}, {0x210, 2, 1, 0x52, 32},
    {0x212, 2, 1, 0x52, 32}, {0x214, 2, 1, 0x55, 32}, {0x216, 2, 1, 0x55, 32}, {0x218, 2, 1, 0x53, 32},
    {0x21a, 2, 1, 0x54, 32}, {0x21e, 2, 1, 0x48, 32}, {0x226, 2, 1, 0x41, 32}, {0x228, 2, 1, 0x45, 32},
    {0x22a, 2, 1, 0x4f, 32}, {0x22c, 2, 1, 0x4f, 32}, {0x22e, 2, 1, 0x4f, 32}, {0x230, 2, 1, 0x4f, 32},
    {0x232, 2, 1, 0x59, 32}, {0x374, 1, 1, 0x2b9, 0}, {0x37e, 1, 1, 0x3b, 0}, {0x385, 2, 1, 0xa8, 745},
    {0x387, 2, 1, 0xb7, 734}, {0x389, 2, 1, 0x397, 2}, {0x38c, 2, 2, 0x39f, 6}, {0x38f, 2, 1, 0x3a9, 16},
    {0x3aa, 3, 1, 0x399, 12}, {0x3ad, 3, 1, 0x3b5, 2}, {0x3b0, 1, 1, 0x3c5, 0}, {0x3ca, 2, 1, 0x3b9, 12},
    {0x3cc, 2, 1, 0x3bf, 6}, {0x3ce, 1, 1, 0x3c9, 0}, {0x3d3, 2, 1, 0x3d2, 0}, {0x400, 2, 1, 0x415, 0},
    {0x403, 1, 1, 0x413, 0}, {0x407, 1, 1, 0x406, 0}, {0x40c, 2, 1, 0x41a, -2}, {0x40e, 1, 1, 0x423, 0},
    {0x419, 1, 1, 0x418, 0}, {0x439, 1, 1, 0x438, 0}, {0x450, 2, 1, 0x435, 0}, {0x453, 1, 1, 0x433, 0},
    {0x457, 1, 1, 0x456, 0}, {0x45c, 2, 1, 0x43a, -2}, {0x45e, 1, 1, 0x443, 0}, {0x476, 2, 1, 0x474, 1},
    {0x4c1, 2, 1, 0x416, 32}, {0x4d0, 2, 1, 0x410, 32}, {0x4d2, 2, 1, 0x410, 32}, {0x4d6, 2, 1, 0x415, 32},
    {0x4da, 2, 1, 0x4d8, 1}, {0x4dc, 2, 1, 0x416, 32}, {0x4de, 2, 1, 0x417, 32}, {0x4e2, 2, 1, 0x418, 32},
    {0x4e4, 2, 1, 0x418, 32}, {0x4e6, 2, 1, 0x41e, 32}, {0x4ea, 2, 1, 0x4e8, 1}, {0x4ec, 2, 1, 0x42d, 32},
    {0x4ee, 2, 1, 0x423, 32}, {0x4f0, 2, 1, 0x423, 32}, {0x4f2, 2, 1, 0x423, 32}, {0x4f4, 2, 1, 0x427, 32},
    {0x4f8, 2, 1, 0x42b, 32}, {0x622, 2, 1, 0x627, 0}, {0x624, 2, 1, 0x648, -33}, {0x626, 1, 1, 0x64a, 0},
    {0x6c0, 2, 2, 0x6d5, -20}, {0x6d3, 1, 1, 0x6d2, 0}, {0x929, 1, 1, 0x928, 0}, {0x931, 1, 1, 0x930, 0},
    {0x934, 1, 1, 0x933, 0}, {0x958, 3, 1, 0x915, 1}, {0x95b, 2, 1, 0x91c, 5}, {0x95d, 2, 1, 0x922, 9},
    {0x95f, 1, 1, 0x92f, 0}, {0x9dc, 2, 1, 0x9a1, 1}, {0x9df, 1, 1, 0x9af, 0}, {0xa33, 1, 1, 0xa32, 0},
    {0xa36, 1, 1, 0xa38, 0}, {0xa59, 2, 1, 0xa16, 1}, {0xa5b, 1, 1, 0xa1c, 0}, {0xa5e, 1, 1, 0xa2b, 0},
    {0xb48, 1, 1, 0xb47, 0}, {0xb5c, 2, 1, 0xb21, 1}, {0xcc0, 1, 1, 0xcd5, 0}, {0xcc7, 2, 1, 0xcd5, 1},
    {0xcca, 1, 1, 0xcc2, 0}, {0xdda, 1, 1, 0xdd9, 0}, {0xf43, 1, 1, 0xf42, 0}, {0xf4d, 1, 1, 0xf4c, 0},
    {0xf52, 1, 1, 0xf51, 0}, {0xf57, 1, 1, 0xf56, 0}, {0xf5c, 1, 1, 0xf5b, 0}, {0xf69, 1, 1, 0xf40, 0},
    {0x1026, 1, 1, 0x1025, 0}, {0x1b3b, 2, 2, 0x1b35, 0}, {0x1b43, 1, 1, 0x1b35, 0},
    {0x1e00, 2, 1, 0x41, 32}, {0x1e02, 2, 1, 0x42, 32}, {0x1e04, 2, 1, 0x42, 32}, {0x1e06, 2, 1, 0x42, 32},
    {0x1e08, 2, 1, 0x43, 32}, {0x1e0a, 2, 1, 0x44, 32}, {0x1e0c, 2, 1, 0x44, 32}, {0x1e0e, 2, 1, 0x44, 32},
    {0x1e10, 2, 1, 0x44, 32}, {0x1e12, 2, 1, 0x44, 32}, {0x1e14, 2, 1, 0x45, 32}, {0x1e16, 2, 1, 0x45, 32},
    {0x1e18, 2, 1, 0x45, 32}, {0x1e1a, 2, 1, 0x45, 32}, {0x1e1c, 2, 1, 0x45, 32}, {0x1e1e, 2, 1, 0x46, 32},
    {0x1e20, 2, 1, 0x47, 32}, {0x1e22, 2, 1, 0x48, 32}, {0x1e24, 2, 1, 0x48, 32}, {0x1e26, 2, 1, 0x48, 32},
    {0x1e28, 2, 1, 0x48, 32}, {0x1e2a, 2, 1, 0x48, 32}, {0x1e2c, 2, 1, 0x49, 32}, {0x1e2e, 2, 1, 0x49, 32},
    {0x1e30, 2, 1, 0x4b, 32}, {0x1e32, 2, 1, 0x4b, 32}, {0x1e34, 2, 1, 0x4b, 32}, {0x1e36, 2, 1, 0x4c, 32},
    {0x1e38, 2, 1, 0x4c, 32}, {0x1e3a, 2, 1, 0x4c, 32}, {0x1e3c, 2, 1, 0x4c, 32}, {0x1e3e, 2, 1, 0x4d, 32},
    {0x1e40, 2, 1, 0x4d, 32}, {0x1e42, 2, 1, 0x4d, 32}, {0x1e44, 2, 1, 0x4e, 32}, {0x1e46, 2, 1, 0x4e, 32},
    {0x1e48, 2, 1, 0x4e, 32}, {0x1e4a, 2, 1, 0x4e, 32}, {0x1e4c, 2, 1, 0x4f, 32}, {0x1e4e, 2, 1, 0x4f, 32},
    {0x1e50, 2, 1, 0x4f, 32}, {0x1e52, 2, 1, 0x4f, 32}, {0x1e54, 2, 1, 0x50, 32}, {0x1e56, 2, 1, 0x50, 32},
    {0x1e58, 2, 1, 0x52, 32}, {0x1e5a, 2, 1, 0x52, 32}, {0x1e5c, 2, 1, 0x52, 32}, {0x1e5e, 2, 1, 0x52, 32},
    {0x1e60, 2, 1, 0x53, 32}, {0x1e62, 2, 1, 0x53, 32}, {0x1e64, 2, 1, 0x53, 32}, {0x1e66, 2, 1, 0x53, 32},
    {0x1e68, 2, 1, 0x53, 32}, {0x1e6a, 2, 1, 0x54, 32}, {0x1e6c, 2, 1, 0x54, 32}, {0x1e6e, 2, 1, 0x54, 32},
    {0x1e70, 2, 1, 0x54, 32}, {0x1e72, 2, 1, 0x55, 32}, {0x1e74, 2, 1, 0x55, 32}, {0x1e76, 2, 1, 0x55, 32},
    {0x1e78, 2, 1, 0x55, 32}, {0x1e7a, 2, 1, 0x55, 32}, {0x1e7c, 2, 1, 0x56, 32}, {0x1e7e, 2, 1, 0x56, 32},
    {0x1e80, 2, 1, 0x57, 32}, {0x1e82, 2, 1, 0x57, 32}, {0x1e84, 2, 1, 0x57, 32}, {0x1e86, 2, 1, 0x57, 32},
    {0x1e88, 2, 1, 0x57, 32}, {0x1e8a, 2, 1, 0x58, 32}, {0x1e8c, 2, 1, 0x58, 32}, {0x1e8e, 2, 1, 0x59, 32},
    {0x1e90, 2, 1, 0x5a, 32}, {0x1e92, 2, 1, 0x5a, 32}, {0x1e94, 2, 1, 0x5a, 32}, {0x1e96, 2, 1, 0x68, 12},
    {0x1e98, 2, 1, 0x77, 2}, {0x1e9b, 1, 1, 0x17f, 0}, {0x1ea0, 2, 1, 0x41, 32}, {0x1ea2, 2, 1, 0x41, 32},
    {0x1ea4, 2, 1, 0x41, 32}, {0x1ea6, 2, 1, 0x41, 32}, {0x1ea8, 2, 1, 0x41, 32}, {0x1eaa, 2, 1, 0x41, 32},
    {0x1eac, 2, 1, 0x41, 32}, {0x1eae, 2, 1, 0x41, 32}, {0x1eb0, 2, 1, 0x41, 32}, {0x1eb2, 2, 1, 0x41, 32},
    {0x1eb4, 2, 1, 0x41, 32}, {0x1eb6, 2, 1, 0x41, 32}, {0x1eb8, 2, 1, 0x45, 32}, {0x1eba, 2, 1, 0x45, 32},
    {0x1ebc, 2, 1, 0x45, 32}, {0x1ebe, 2, 1, 0x45, 32}, {0x1ec0, 2, 1, 0x45, 32}, {0x1ec2, 2, 1, 0x45, 32},
    {0x1ec4, 2, 1, 0x45, 32}, {0x1ec6, 2, 1, 0x45, 32}, {0x1ec8, 2, 1, 0x49, 32}, {0x1eca, 2, 1, 0x49, 32},
    {0x1ecc, 2, 1, 0x4f, 32}, {0x1ece, 2, 1, 0x4f, 32}, {0x1ed0, 2, 1, 0x4f, 32}, {0x1ed2, 2, 1, 0x4f, 32},
    {0x1ed4, 2, 1, 0x4f, 32}, {0x1ed6, 2, 1, 0x4f, 32}, {0x1ed8, 2, 1, 0x4f, 32}, {0x1eda, 2, 1, 0x4f, 32},
    {0x1edc, 2, 1, 0x4f, 32}, {0x1ede, 2, 1, 0x4f, 32}, {0x1ee0, 2, 1, 0x4f, 32}, {0x1ee2, 2, 1, 0x4f, 32},
    {0x1ee4, 2, 1, 0x55, 32}, {0x1ee6, 2, 1, 0x55, 32}, {0x1ee8, 2, 1, 0x55, 32}, {0x1eea, 2, 1, 0x55, 32},
    {0x1eec, 2, 1, 0x55, 32}, {0x1eee, 2, 1, 0x55, 32}, {0x1ef0, 2, 1, 0x55, 32}, {0x1ef2, 2, 1, 0x59, 32},
    {0x1ef4, 2, 1, 0x59, 32}, {0x1ef6, 2, 1, 0x59, 32}, {0x1ef8, 2, 1, 0x59, 32}, {0x1f00, 8, 1, 0x3b1, 0},
    {0x1f08, 8, 1, 0x391, 0}, {0x1f10, 6, 1, 0x3b5, 0}, {0x1f18, 6, 1, 0x395, 0}, {0x1f20, 8, 1, 0x3b7, 0},
    {0x1f28, 8, 1, 0x397, 0}, {0x1f30, 8, 1, 0x3b9, 0}, {0x1f38, 8, 1, 0x399, 0}, {0x1f40, 6, 1, 0x3bf, 0},
    {0x1f48, 6, 1, 0x39f, 0}, {0x1f50, 8, 1, 0x3c5, 0}, {0x1f59, 4, 2, 0x3a5, 0}, {0x1f60, 8, 1, 0x3c9, 0},
    {0x1f68, 8, 1, 0x3a9, 0}, {0x1f70, 2, 1, 0x3b1, 0}, {0x1f72, 2, 1, 0x3b5, 0}, {0x1f74, 2, 1, 0x3b7, 0},
    {0x1f76, 2, 1, 0x3b9, 0}, {0x1f78, 2, 1, 0x3bf, 0}, {0x1f7a, 2, 1, 0x3c5, 0}, {0x1f7c, 2, 1, 0x3c9, 0},
    {0x1f80, 8, 1, 0x3b1, 0}, {0x1f88, 8, 1, 0x391, 0}, {0x1f90, 8, 1, 0x3b7, 0}, {0x1f98, 8, 1, 0x397, 0},
    {0x1fa0, 8, 1, 0x3c9, 0}, {0x1fa8, 8, 1, 0x3a9, 0}, {0x1fb0, 5, 1, 0x3b1, 0}, {0x1fb6, 2, 1, 0x3b1, 0},
    {0x1fb8, 5, 1, 0x391, 0}, {0x1fbe, 1, 1, 0x3b9, 0}, {0x1fc1, 2, 1, 0xa8, 783}, {0x1fc3, 2, 1, 0x3b7, 0},
    {0x1fc6, 2, 1, 0x3b7, 0}, {0x1fc8, 2, 1, 0x395, 0}, {0x1fca, 3, 1, 0x397, 0}, {0x1fcd, 3, 1, 0x1fbf, 0},
    {0x1fd0, 4, 1, 0x3b9, 0}, {0x1fd6, 2, 1, 0x3b9, 0}, {0x1fd8, 4, 1, 0x399, 0}, {0x1fdd, 3, 1, 0x1ffe, 0},
    {0x1fe0, 4, 1, 0x3c5, 0}, {0x1fe4, 2, 1, 0x3c1, 0}, {0x1fe6, 2, 1, 0x3c5, 0}, {0x1fe8, 4, 1, 0x3a5, 0},
    {0x1fec, 2, 1, 0x3a1, -761}, {0x1fee, 2, 1, 0xa8, -72}, {0x1ff2, 3, 1, 0x3c9, 0},
    {0x1ff6, 2, 1, 0x3c9, 0}, {0x1ff8, 2, 1, 0x39f, 0}, {0x1ffa, 3, 1, 0x3a9, 0}, {0x1ffd, 1, 1, 0xb4, 0},
    {0x2000, 2, 1, 0x2002, 1}, {0x2126, 1, 1, 0x3a9, 0}, {0x212a, 2, 1, 0x4b, -10},
    {0x219a, 2, 1, 0x2190, 2}, {0x21ae, 1, 1, 0x2194, 0}, {0x21cd, 2, 1, 0x21d0, 4},
    {0x21cf, 1, 1, 0x21d2, 0}, {0x2204, 1, 1, 0x2203, 0}, {0x2209, 1, 1, 0x2208, 0},
    {0x220c, 1, 1, 0x220b, 0}, {0x2224, 2, 2, 0x2223, 2}, {0x2241, 1, 1, 0x223c, 0},
    {0x2244, 1, 1, 0x2243, 0}, {0x2247, 2, 2, 0x2245, 3}, {0x2260, 2, 2, 0x3d, 8740},
    {0x226d, 2, 1, 0x224d, -8721}, {0x226f, 2, 1, 0x3e, 8742}, {0x2271, 1, 1, 0x2265, 0},
    {0x2274, 2, 1, 0x2272, 1}, {0x2278, 2, 1, 0x2276, 1}, {0x2280, 2, 1, 0x227a, 1},
    {0x2284, 2, 1, 0x2282, 1}, {0x2288, 2, 1, 0x2286, 1}, {0x22ac, 2, 1, 0x22a2, 6},
    {0x22ae, 2, 1, 0x22a9, 2}, {0x22e0, 2, 1, 0x227c, 1}, {0x22e2, 2, 1, 0x2291, 1},
    {0x22ea, 4, 1, 0x22b2, 1}, {0x2329, 2, 1, 0x3008, 1}, {0x2adc, 1, 1, 0x2add, 0},
    {0x304c, 12, 2, 0x304b, 2}, {0x3065, 3, 2, 0x3064, 2}, {0x3070, 2, 1, 0x306f, 0},
    {0x3073, 2, 1, 0x3072, 0}, {0x3076, 2, 1, 0x3075, 0}, {0x3079, 2, 1, 0x3078, 0},
    {0x307c, 2, 1, 0x307b, 0}, {0x3094, 1, 1, 0x3046, 0}, {0x309e, 1, 1, 0x309d, 0},
    {0x30ac, 12, 2, 0x30ab, 2}, {0x30c5, 3, 2, 0x30c4, 2}, {0x30d0, 2, 1, 0x30cf, 0},
    {0x30d3, 2, 1, 0x30d2, 0}, {0x30d6, 2, 1, 0x30d5, 0}, {0x30d9, 2, 1, 0x30d8, 0},
    {0x30dc, 2, 1, 0x30db, 0}, {0x30f4, 1, 1, 0x30a6, 0}, {0x30f7, 4, 1, 0x30ef, 1},
    {0x30fe, 1, 1, 0x30fd, 0}, {0xfb1d, 2, 2, 0x5d9, 25}, {0xfb2a, 4, 1, 0x5e9, 0}, {0xfb2e, 3, 1, 0x5d0, 0},
    {0xfb31, 6, 1, 0x5d1, 1}, {0xfb38, 5, 1, 0x5d8, 1}, {0xfb3e, 2, 2, 0x5de, 2}, {0xfb41, 2, 2, 0x5e1, 2},
    {0xfb44, 2, 2, 0x5e4, 2}, {0xfb47, 4, 1, 0x5e7, 1}, {0xfb4b, 2, 1, 0x5d5, -4}, {0xfb4d, 2, 1, 0x5db, 9},
    {0x105c9, 1, 1, 0x105d2, 0}, {0x105e4, 1, 1, 0x105da, 0}, {0x1109a, 2, 2, 0x11099, 2},
    {0x110ab, 1, 1, 0x110a5, 0}, {0x11385, 1, 1, 0x11384, 0}, {0x114bb, 1, 1, 0x114b9, 0}};
// The same, where more than one character is left.
struct Decomposed {
  char32_t from;
  char32_t to[4];
};
constexpr Decomposed kDecomposed[] = {
    {0x9cb, {0x9c7, 0x9be}}, {0x9cc, {0x9c7, 0x9d7}}, {0xb4b, {0xb47, 0xb3e}}, {0xb4c, {0xb47, 0xb57}},
    {0xb94, {0xb92, 0xbd7}}, {0xbca, {0xbc6, 0xbbe}}, {0xbcb, {0xbc7, 0xbbe}}, {0xbcc, {0xbc6, 0xbd7}},
    {0xccb, {0xcc2, 0xcd5}}, {0xd4a, {0xd46, 0xd3e}}, {0xd4b, {0xd47, 0xd3e}}, {0xd4c, {0xd46, 0xd57}},
    {0xddc, {0xdd9, 0xdcf}}, {0xddd, {0xdd9, 0xdcf}}, {0xdde, {0xdd9, 0xddf}}, {0x1b06, {0x1b05, 0x1b35}},
    {0x1b08, {0x1b07, 0x1b35}}, {0x1b0a, {0x1b09, 0x1b35}}, {0x1b0c, {0x1b0b, 0x1b35}},
    {0x1b0e, {0x1b0d, 0x1b35}}, {0x1b12, {0x1b11, 0x1b35}}, {0x1b40, {0x1b3e, 0x1b35}},
    {0x1b41, {0x1b3f, 0x1b35}}, {0x1134b, {0x11347, 0x1133e}}, {0x1134c, {0x11347, 0x11357}},
    {0x11383, {0x11382, 0x113c9}}, {0x1138e, {0x1138b, 0x113c2}}, {0x11391, {0x11390, 0x113c9}},
    {0x113c5, {0x113c2, 0x113c2}}, {0x113c7, {0x113c2, 0x113b8}}, {0x113c8, {0x113c2, 0x113c9}},
    {0x114bc, {0x114b9, 0x114b0}}, {0x114be, {0x114b9, 0x114bd}}, {0x115ba, {0x115b8, 0x115af}},
    {0x115bb, {0x115b9, 0x115af}}, {0x11938, {0x11935, 0x11930}}, {0x16d68, {0x16d67, 0x16d67}},
    {0x16d69, {0x16d63, 0x16d67}}, {0x16d6a, {0x16d63, 0x16d67, 0x16d67}}, {0x1d15e, {0x1d157, 0x1d165}},
    {0x1d15f, {0x1d158, 0x1d165}}, {0x1d160, {0x1d158, 0x1d165, 0x1d16e}},
    {0x1d161, {0x1d158, 0x1d165, 0x1d16f}}, {0x1d162, {0x1d158, 0x1d165, 0x1d170}},
    {0x1d163, {0x1d158, 0x1d165, 0x1d171}}, {0x1d164, {0x1d158, 0x1d165, 0x1d172}},
    {0x1d1bb, {0x1d1b9, 0x1d165}}, {0x1d1bc, {0x1d1ba, 0x1d165}}, {0x1d1bd, {0x1d1b9, 0x1d165, 0x1d16e}},
    {0x1d1be, {0x1d1ba, 0x1d165, 0x1d16e}}, {0x1d1bf, {0x1d1b9, 0x1d165, 0x1d16f}},
    {0x1d1c0, {0x1d1ba, 0x1d165, 0x1d16f}}};
// What the compatibility ideographs U+F900 to U+FA6D, U+FA70 to U+FAD9 and U+2F800 to U+2FA1D stand for.
constexpr std::string_view kIdeographs =
    "豈更車賈滑串句龜龜契金喇奈懶癩羅蘿螺裸邏樂洛烙珞落酪駱亂卵欄爛蘭鸞嵐濫藍襤拉臘蠟廊朗浪狼郎來冷勞擄櫓"
    "爐盧老蘆虜路露魯鷺碌祿綠菉錄鹿論壟弄籠聾牢磊賂雷壘屢樓淚漏累縷陋勒肋凜凌稜綾菱陵讀拏樂諾丹寧怒率異北"
    "磻便復不泌數索參塞省葉說殺辰沈拾若掠略亮兩凉梁糧良諒量勵呂女廬旅濾礪閭驪麗黎力曆歷轢年憐戀撚漣煉璉秊"
    "練聯輦蓮連鍊列劣咽烈裂說廉念捻殮簾獵令囹寧嶺怜玲瑩羚聆鈴零靈領例禮醴隸惡了僚寮尿料樂燎療蓼遼龍暈阮劉"
    "杻柳流溜琉留硫紐類六戮陸倫崙淪輪律慄栗率隆利吏履易李梨泥理痢罹裏裡里離匿溺吝燐璘藺隣鱗麟林淋臨立笠粒"
    "狀炙識什茶刺切度拓糖宅洞暴輻行降見廓兀嗀﨎﨏塚﨑晴﨓﨔凞猪益礼神祥福靖精羽﨟蘒﨡諸﨣﨤逸都﨧﨨﨩飯飼"
    "館鶴郞隷侮僧免勉勤卑喝嘆器塀墨層屮悔慨憎懲敏既暑梅海渚漢煮爫琢碑社祉祈祐祖祝禍禎穀突節練縉繁署者臭艹"
    "艹著褐視謁謹賓贈辶逸難響頻恵𤋮舘並况全侀充冀勇勺喝啕喙嗢塚墳奄奔婢嬨廒廙彩徭惘慎愈憎慠懲戴揄搜摒敖晴"
    "朗望杖歹殺流滛滋漢瀞煮瞧爵犯猪瑱甆画瘝瘟益盛直睊着磌窱節类絛練缾者荒華蝹襁覆視調諸請謁諾諭謹變贈輸遲"
    "醙鉶陼難靖韛響頋頻鬒龜𢡊𢡄𣏕㮝䀘䀹𥉉𥳐𧻓齃龎丽丸乁𠄢你侮侻倂偺備僧像㒞𠘺免兔兤具𠔜㒹內再𠕋冗冤仌冬况"
    "𩇟凵刃㓟刻剆割剷㔕勇勉勤勺包匆北卉卑博即卽卿卿卿𠨬灰及叟𠭣叫叱吆咞吸呈周咢哶唐啓啣善善喙喫喳嗂圖嘆圗"
    "噑噴切壮城埴堍型堲報墬𡓤売壷夆多夢奢𡚨𡛪姬娛娧姘婦㛮㛼嬈嬾嬾𡧈寃寘寧寳𡬘寿将当尢㞁屠屮峀岍𡷤嵃𡷦嵮嵫"
    "嵼巡巢㠯巽帨帽幩㡢𢆃㡼庰庳庶廊𪎒廾𢌱𢌱舁弢弢㣇𣊸𦇚形彫㣣徚忍志忹悁㤺㤜悔𢛔惇慈慌慎慌慺憎憲憤憯懞懲懶"
    "成戛扝抱拔捐𢬌挽拼捨掃揤𢯱搢揅掩㨮摩摾撝摷㩬敏敬𣀊旣書晉㬙暑㬈㫤冒冕最暜肭䏙朗望朡杞杓𣏃㭉柺枅桒梅𣑭"
    "梎栟椔㮝楂榣槪檨𣚣櫛㰘次𣢧歔㱎歲殟殺殻𣪍𡴋𣫺汎𣲼沿泍汧洖派海流浩浸涅𣴞洴港湮㴳滋滇𣻑淹潮𣽞𣾎濆瀹瀞瀛"
    "㶖灊災灷炭𠔥煅𤉣熜𤎫爨爵牐𤘈犀犕𤜵𤠔獺王㺬玥㺸㺸瑇瑜瑱璅瓊㼛甤𤰶甾𤲒異𢆟瘐𤾡𤾸𥁄㿼䀈直𥃳𥃲𥄙𥄳眞真真"
    "睊䀹瞋䁆䂖𥐝硎碌磌䃣𥘦祖𥚚𥛅福秫䄯穀穊穏𥥼𥪧𥪧竮䈂𥮫篆築䈧𥲀糒䊠糨糣紀𥾆絣䌁緇縂繅䌴𦈨𦉇䍙𦋙罺𦌾羕翺"
    "者𦓚𦔣聠𦖨聰𣍟䏕育脃䐋脾媵𦞧𦞵𣎓𣎜舁舄辞䑫芑芋芝劳花芳芽苦𦬼若茝荣莭茣莽菧著荓菊菌菜𦰶𦵫𦳕䔫蓱蓳蔖𧏊"
    "蕤𦼬䕝䕡𦾱𧃒䕫虐虜虧虩蚩蚈蜎蛢蝹蜨蝫螆䗗蟡蠁䗹衠衣𧙧裗裞䘵裺㒻𧢮𧥦䚾䛇誠諭變豕𧲨貫賁贛起𧼯𠠄跋趼跰𠣞"
    "軔輸𨗒𨗭邔郱鄑𨜮鄛鈸鋗鋘鉼鏹鐕𨯺開䦕閷𨵷䧦雃嶲霣𩅅𩈚䩮䩶韠𩐊䪲𩒖頋頋頩𩖶飢䬳餩馧駂駾䯎𩬰鬒鱀鳽䳎䳭鵧"
    "𪃎䳸𪄅𪈎𪊑麻䵖黹黾鼅鼏鼖鼻𪘀";
}  // namespace

// %%
//| export text/unicode_tables.cpp
namespace {
using text::CharClass;

struct ClassPages {
  std::array<std::uint16_t, 0x1100> page_of{};
  std::vector<std::array<CharClass, 256>> pages;
};

CharClass class_of_letter(char letter) {
  switch (letter) {
    case 'l': return CharClass::Letter;
    case 'n': return CharClass::Number;
    case 's': return CharClass::Space;
    case 'p': return CharClass::Punctuation;
    case 'm': return CharClass::Mark;
    case 'c': return CharClass::Control;
    default: return CharClass::Other;
  }
}

ClassPages lay_out_classes() {
  ClassPages result;
  std::map<std::array<CharClass, 256>, std::uint16_t> known;
  std::array<CharClass, 256> page{};
  std::size_t at = 0;  // the next code point
  for (std::size_t i = 0; i < kClassRuns.size();) {
    const CharClass run = class_of_letter(kClassRuns[i++]);
    std::size_t count = 0;
    while (i < kClassRuns.size() && kClassRuns[i] >= '0' && kClassRuns[i] <= '9') count = count * 10 + static_cast<std::size_t>(kClassRuns[i++] - '0');
    for (std::size_t end = at + std::max<std::size_t>(count, 1); at < end; ++at) {
      page[at & 255] = run;
      if ((at & 255) != 255) continue;
      const auto [place, fresh] = known.emplace(page, static_cast<std::uint16_t>(result.pages.size()));
      if (fresh) result.pages.push_back(page);
      result.page_of[at >> 8] = place->second;
    }
  }
  return result;
}

// What `c` becomes by the runs, or `c`.
template <std::size_t N>
char32_t mapped(const MappedRun (&runs)[N], char32_t c) {
  const MappedRun* const after = std::upper_bound(std::begin(runs), std::end(runs), c, [](char32_t value, const MappedRun& run) { return value < run.first; });
  if (after == std::begin(runs)) return c;
  const MappedRun& run = after[-1];
  const auto distance = static_cast<std::int32_t>(c - run.first);
  if (distance % run.step != 0 || distance / run.step >= run.count) return c;
  return static_cast<char32_t>(static_cast<std::int32_t>(run.target) + distance / run.step * run.target_step);
}

// The compatibility ideograph `c` as the ideograph that it stands for; 0 for another character.
char32_t ideograph(char32_t c) {
  static const std::u32string targets = text::to_utf32(kIdeographs);
  if (c >= 0xf900 && c <= 0xfa6d) return targets[c - 0xf900];
  if (c >= 0xfa70 && c <= 0xfad9) return targets[c - 0xfa70 + 0x16e];
  if (c >= 0x2f800 && c <= 0x2fa1d) return targets[c - 0x2f800 + 0x16e + 0x6a];
  return 0;
}
}  // namespace

text::CharClass text::char_class(char32_t c) {
  static const ClassPages table = lay_out_classes();
  if (c > 0x10ffff) return CharClass::Other;
  return table.pages[table.page_of[c >> 8]][c & 255];
}

char32_t text::lower_case(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  return mapped(kLowerRuns, c);
}

void text::append_base(std::u32string& out, char32_t c) {
  if (c < 0x80) {
    out += c;
  } else if (c >= 0xac00 && c < 0xd7a4) {
    // A Hangul syllable is made of two or three Jamo by arithmetic (The Unicode Standard, 3.12).
    const char32_t s = c - 0xac00;
    out += 0x1100 + s / 588;
    out += 0x1161 + s % 588 / 28;
    if (s % 28 != 0) out += 0x11a7 + s % 28;
  } else if (const char32_t plain = ideograph(c); plain != 0) {
    out += plain;
  } else if (char_class(c) != CharClass::Mark) {
    const Decomposed* const known = std::lower_bound(std::begin(kDecomposed), std::end(kDecomposed), c, [](const Decomposed& entry, char32_t value) { return entry.from < value; });
    if (known != std::end(kDecomposed) && known->from == c) {
      out += known->to;
    } else {
      out += mapped(kBaseRuns, c);
    }
  }
}

// %%
TEST_CASE("classes: letters, numbers, spaces, punctuation, marks and controls of many scripts") {
  using text::char_class;
  using text::CharClass;
  const auto all_are = [](std::u32string_view characters, CharClass expected) {
    for (const char32_t c : characters)
      CHECK_MESSAGE(char_class(c) == expected, "U+", static_cast<std::uint32_t>(c), " is of class ", static_cast<int>(char_class(c)));
  };
  all_are(U"aZ\u00e9\u00df\u03a9\u0416\u05d0\u0639\u0915\u4e2d\u3042\uac00\u01c5\u02b0\U00020000", CharClass::Letter);
  all_are(U"09\u00b2\u00bd\u0663\u216b\u3007\u2460\U0001d7d8", CharClass::Number);
  all_are(U" \t\n\r\u000b\u0085\u00a0\u2009\u2028\u3000", CharClass::Space);
  all_are(U"!-_(\u00bf\u2014\u2026\u3001\uff01", CharClass::Punctuation);
  all_are(U"\u0301\u0300\u094d\u0e31\ufe0f\U000e0100", CharClass::Mark);
  all_are(U"\u0001\u001f\u007f\u00ad\u200b\u200d\ufeff\ue000\U0010fffd", CharClass::Control);
  all_are(U"$+<\u20ac\u00a9\U0001f600\U0001f1e9\u0378\ufffd", CharClass::Other);
  CHECK(char_class(0x110000) == CharClass::Other);
}

// %%
TEST_CASE("lower case and characters without accents") {
  const auto lower = [](std::u32string_view characters) {
    std::u32string out;
    for (const char32_t c : characters) out += text::lower_case(c);
    return text::to_utf8(out);
  };
  CHECK_EQ(lower(U"AbZ19\u00c9\u00d7\u0100\u0101\u0178\u0391\u03a3\u0416\u1e9e\u2160\uff21\U00010400"),
           text::to_utf8(U"abz19\u00e9\u00d7\u0101\u0101\u00ff\u03b1\u03c3\u0436\u00df\u2170\uff41\U00010428"));
  const auto base = [](std::u32string_view characters) {
    std::u32string out;
    for (const char32_t c : characters) text::append_base(out, c);
    return text::to_utf8(out);
  };
  CHECK_EQ(base(U"caf\u00e9 na\u00efve \u00c5ngstr\u00f6m e\u0301 \u1ec7 \u0439 \u00f8 \u0142"), text::to_utf8(U"cafe naive Angstrom e e \u0438 \u00f8 \u0142"));
  CHECK_EQ(base(U"\u212b\u2126\u1f00"), text::to_utf8(U"A\u03a9\u03b1"));
  CHECK_EQ(base(U"\uac00\ud55c"), text::to_utf8(U"\u1100\u1161\u1112\u1161\u11ab"));
  CHECK_EQ(base(U"\uf900\ufad9\U0002fa1d\u09cb"), text::to_utf8(U"\u8c48\u9f8e\U0002a600\u09c7\u09be"));
}

// %% [markdown]
// ### Vocabularies
//
// A text becomes ids, ids become a text, and a vocabulary has a size, which is the number of rows of an embedding.
//
//     "hello" -- encode --> 1 0 2 2 3 -- decode --> "hello"          Vocabulary: token(1) is "h", find("h") is 1

// %%
//| export text/vocabulary.h
namespace text {

// Text to ids and back. Ids are 0 .. vocab_size() - 1.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::vector<std::int64_t> encode(std::string_view text) const = 0;
  // Throws IndexError for an id outside of the vocabulary.
  virtual std::string decode(IntArrayRef ids) const = 0;
  virtual std::int64_t vocab_size() const = 0;
};

// A list of distinct tokens, each with its place as id.
class Vocabulary {
 public:
  Vocabulary() = default;
  // Throws ValueError if a token is there twice.
  explicit Vocabulary(const std::vector<std::string>& tokens);

  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  // The id of `token`, nothing if it is no token. O(length).
  std::optional<std::int64_t> find(std::string_view token) const;
  // The token with this id. Throws IndexError.
  const std::string& token(std::int64_t id) const;
  // The id of `token`, which is added if it is new.
  std::int64_t add(std::string_view token);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>> ids_;
};

// The parts of `text` between occurrences of the special tokens, and these: f(part, id), where id is -1 for
// ordinary text. At each place the longest special token that begins there wins.
void split_at_special(std::string_view text, const std::vector<std::pair<std::string, std::int64_t>>& special,
                      const std::function<void(std::string_view, std::int64_t)>& f);

}  // namespace text

// %%
//| export text/vocabulary.cpp
text::Vocabulary::Vocabulary(const std::vector<std::string>& tokens) {
  for (const std::string& token : tokens) {
    const std::int64_t id = size();
    TORCH_CHECK_VALUE(add(token) == id, "the token \"", token, "\" is in the vocabulary twice\n[Vocabulary] as ids ",
                      *find(token), " and ", id, "; a token has one id.");
  }
}

std::optional<std::int64_t> text::Vocabulary::find(std::string_view token) const {
  const auto place = ids_.find(token);
  return place == ids_.end() ? std::nullopt : std::optional(place->second);
}

const std::string& text::Vocabulary::token(std::int64_t id) const {
  TORCH_CHECK_INDEX(id >= 0 && id < size(), "there is no token with the id ", id, "\n[Vocabulary] ids are 0 to ",
                    size() - 1, ": is this the tokenizer that the ids were made with?");
  return tokens_[static_cast<std::size_t>(id)];
}

std::int64_t text::Vocabulary::add(std::string_view token) {
  const auto [place, fresh] = ids_.emplace(std::string(token), size());
  if (fresh) tokens_.emplace_back(token);
  return place->second;
}

void text::split_at_special(std::string_view text,
                            const std::vector<std::pair<std::string, std::int64_t>>& special,
                            const std::function<void(std::string_view, std::int64_t)>& f) {
  // Where each special token occurs next; searched again only when that place has been passed.
  std::vector<std::size_t> next(special.size());
  for (std::size_t i = 0; i < special.size(); ++i) next[i] = text.find(special[i].first);
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t best = special.size();
    for (std::size_t i = 0; i < special.size(); ++i) {
      if (next[i] != std::string_view::npos && next[i] < at) next[i] = text.find(special[i].first, at);
      if (next[i] == std::string_view::npos) continue;
      if (best == special.size() || next[i] < next[best] ||
          (next[i] == next[best] && special[i].first.size() > special[best].first.size()))
        best = i;
    }
    const std::size_t end = best == special.size() ? text.size() : next[best];
    if (end > at) f(text.substr(at, end - at), -1);
    if (best == special.size()) return;
    f(special[best].first, special[best].second);
    at = end + special[best].first.size();
  }
}

// %%
TEST_CASE("Vocabulary and split_at_special: distinct tokens, and special ones found first") {
  text::Vocabulary tokens({"a", "b"});
  CHECK_EQ(*tokens.find("b"), 1);
  CHECK_FALSE(tokens.find("c").has_value());
  CHECK_EQ(tokens.add("c"), 2);
  CHECK_EQ(tokens.add("a"), 0);
  CHECK_EQ(tokens.token(2), "c");
  CHECK_ERROR(tokens.token(3), "there is no token with the id 3");
  CHECK_ERROR(text::Vocabulary(std::vector<std::string>{"a", "b", "a"}), "the token \"a\" is in the vocabulary twice");
  const auto parts = [](std::string_view text) {
    std::string out;
    text::split_at_special(text, {{"<x>", 1}, {"<x><y>", 2}, {"!", 3}}, [&](std::string_view part, std::int64_t id) {
      out += std::to_string(id) + ":" + std::string(part) + " ";
    });
    return out;
  };
  CHECK_EQ(parts("a<x>b<x><y>!"), "-1:a 1:<x> -1:b 2:<x><y> 3:! ");
  CHECK_EQ(parts("<x"), "-1:<x ");
  CHECK_EQ(parts(""), "");
}

// %% [markdown]
// A vocabulary comes as JSON from strangers. It is read event by event (SAX), so that nothing is built of what is refused: anything but one flat object of distinct texts and the numbers 0 to n - 1.

// %%
//| export text/vocabulary_files.h
namespace text {

// The tokens of a file {"token": id, ...}, by id. Throws Error, with the file and what is wrong in it, unless the ids are 0 to n - 1, each
// once. O(size).
std::vector<std::string> read_vocabulary_json(const std::string& path);
// `text` as JSON writes it, with quotes. REQUIRES: UTF-8.
std::string json_text(std::string_view text);

}  // namespace text

// %%
//| export text/vocabulary_files.cpp
namespace {
using nlohmann::json;

// Takes the events of a JSON parser; accepts {"token": id, ...} and nothing else.
class VocabularyReader : public json::json_sax_t {
 public:
  std::vector<std::pair<std::string, std::uint64_t>> entries;
  std::string problem;

  bool start_object(std::size_t) override { return depth_++ == 0 ? true : refuse("holds an object in the object"); }
  bool end_object() override { return true; }
  bool key(std::string& text) override {
    key_ = text;
    return true;
  }
  bool number_unsigned(std::uint64_t value) override {
    if (depth_ == 0) return refuse("is no object");
    entries.emplace_back(key_, value);
    return true;
  }
  bool number_integer(std::int64_t) override { return refuse("has a negative id"); }
  bool number_float(double, const std::string&) override { return refuse("has an id that is no integer"); }
  bool null() override { return refuse("has an id that is no integer"); }
  bool boolean(bool) override { return refuse("has an id that is no integer"); }
  bool string(std::string&) override { return refuse("has an id that is no integer"); }
  bool binary(binary_t&) override { return refuse("has an id that is no integer"); }
  bool start_array(std::size_t) override { return refuse("has an id that is no integer"); }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return refuse("is no JSON from byte " + std::to_string(position) + " on");
  }

 private:
  bool refuse(const std::string& why) {
    problem = depth_ == 0 ? "is no object" : why;
    if (!key_.empty()) problem += ", at the token \"" + key_ + "\"";
    return false;
  }
  int depth_ = 0;
  std::string key_;
};
}  // namespace

std::vector<std::string> text::read_vocabulary_json(const std::string& path) {
  const std::string bytes = serialize::read_file(path);
  VocabularyReader reader;
  const auto refuse = [&](const std::string& why) {
    throw Error("cannot read the vocabulary " + path + ": it " + why +
                "\n[read_vocabulary_json] a vocabulary is one object of tokens and their ids, 0 to n - 1.");
  };
  if (!json::sax_parse(bytes, &reader)) refuse(reader.problem);
  std::vector<std::string> tokens(reader.entries.size());
  std::vector<bool> taken(tokens.size());
  for (auto& [token, id] : reader.entries) {
    if (id >= tokens.size())
      refuse("has " + std::to_string(tokens.size()) + " tokens, but \"" + token + "\" has the id " + std::to_string(id));
    if (taken[id]) refuse("gives the id " + std::to_string(id) + " twice, also to \"" + token + "\"");
    taken[id] = true;
    tokens[id] = std::move(token);
  }
  return tokens;
}

std::string text::json_text(std::string_view text) { return json(text).dump(); }

// %%
TEST_CASE("read_vocabulary_json: tokens by id, and a sentence for everything else") {
  const tito::Scratch scratch;
  const auto read = [&](const std::string& content) { return text::read_vocabulary_json(scratch.write("vocab.json", content)); };
  CHECK_EQ(read(R"( {"b": 1, "\u0120a": 0} )"), std::vector<std::string>{"\u0120a", "b"});
  CHECK_EQ(read("{}").size(), 0);
  CHECK_ERROR(read("[]"), "is no object");
  CHECK_ERROR(read("7"), "is no object");
  CHECK_ERROR(read(""), "cannot read the vocabulary");
  CHECK_ERROR(read(R"({"a": 0, "b")"), "is no JSON from byte");
  CHECK_ERROR(read(R"({"a": 0} x)"), "is no JSON from byte");
  CHECK_ERROR(read("{\"\xff\": 0}"), "is no JSON from byte");
  CHECK_ERROR(read(R"({"a": 0, "b": -1})"), "has a negative id, at the token \"b\"");
  CHECK_ERROR(read(R"({"a": 0, "b": 1.5})"), "has an id that is no integer");
  CHECK_ERROR(read(R"({"a": 99999999999999999999})"), "has an id that is no integer");
  CHECK_ERROR(read(R"({"a": {"b": 1}})"), "holds an object in the object");
  CHECK_ERROR(read(R"({"a": [1]})"), "has an id that is no integer");
  CHECK_ERROR(read(R"({"a": 0, "b": 4000000000})"), "has 2 tokens, but \"b\" has the id 4000000000");
  CHECK_ERROR(read(R"({"a": 0, "b": 0})"), "gives the id 0 twice");
  CHECK_ERROR(read(std::string(100000, '[')), "is no object");
  CHECK_EQ(text::json_text("a\"\n"), "\"a\\\"\\n\"");
}

// %%
}  // namespace tinytorch
