// Keys that find a name however it was typed. They are for matching only: the name itself is kept as typed.
//
//   match_key("ﾔﾏﾀﾞ はなこ") == "ヤマダ ハナコ"      match_key("髙橋") == match_key("高橋")
//   loose_key("ヴァイオレット・リー") == "バイオレツトリ"
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace enishi::crm::japanese {

/// NFKC, hiragana to katakana, lower case, variants of a kanji folded to one by table (髙高, 﨑崎, 斎齋斉齊 …), runs of spaces to one,
/// no spaces at the ends, nothing invisible (variation selectors, zero width).
[[nodiscard]] std::string match_key(std::string_view name);

/// The match key without spaces, middle dots, long marks and hyphens; small kana are large, ヴ is ブ (ヴァ is バ), ヂヅヰヱヲ are
/// ジズイエオ, and 々 is the character before it.
[[nodiscard]] std::string loose_key(std::string_view name);

}  // namespace enishi::crm::japanese
