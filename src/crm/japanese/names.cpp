#include "crm/japanese/names.hpp"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>

#include <algorithm>
#include <unordered_map>

#include "crm/japanese/unicode.hpp"

namespace enishi::crm::japanese {

namespace {

// Each group is one character in names; the first is what keys hold. NFKC does none of these.
constexpr std::u32string_view variant_groups[] = {
    U"高髙", U"崎﨑嵜", U"斎齋斉齊齎", U"辺邊邉", U"沢澤",   U"浜濱濵", U"島嶋嶌", U"広廣",   U"国國", U"桜櫻", U"恵惠",     U"竜龍",
    U"滝瀧", U"富冨",   U"吉𠮷",       U"真眞",   U"条條",   U"万萬",   U"関關",   U"黒黑",   U"徳德", U"角⻆", U"学學",     U"実實",
    U"寿壽", U"栄榮",   U"円圓",       U"塩鹽",   U"桧檜",   U"桑桒",   U"柳栁桺", U"蔵藏",   U"満滿", U"豊豐", U"礼禮",     U"緑綠",
    U"彦彥", U"瀬瀨",   U"頼賴",       U"来來",   U"経經",   U"芦蘆",   U"峰峯",   U"船舩",   U"館舘", U"検檢", U"剣劍劔",   U"鉄鐵",
    U"湾灣", U"曽曾",   U"呉吳",       U"亀龜",   U"静靜",   U"清淸",   U"青靑",   U"弥彌",   U"尭堯", U"遥遙", U"槙槇",     U"鴎鷗",
    U"園薗", U"会會",   U"団團",       U"声聲",   U"当當",   U"応應",   U"楽樂",   U"顕顯",   U"聡聰", U"総總", U"鶴靏靍",   U"嶺岺",
    U"岳嶽", U"巌巖",   U"戸戶",       U"稲稻",   U"梅楳",   U"淵渕渊", U"穂穗",   U"与與",   U"予豫", U"仏佛", U"伝傳",     U"児兒",
    U"処處", U"双雙",   U"台臺",       U"奥奧",   U"宝寶寳", U"将將",   U"専專",   U"対對",   U"帯帶", U"庁廳", U"弁辨瓣辯", U"抜拔",
    U"拝拜", U"拡擴",   U"挙擧",       U"数數",   U"昼晝",   U"暁曉",   U"権權",   U"歩步",   U"歳歲", U"毎每", U"気氣",     U"浅淺",
    U"渓溪", U"焼燒",   U"独獨",       U"画畫",   U"畳疊",   U"痩瘦",   U"県縣",   U"禅禪",   U"窓窗", U"粛肅", U"糸絲",     U"継繼",
    U"続續", U"絵繪",   U"芸藝",       U"荘莊",   U"薫薰",   U"虫蟲",   U"蛍螢",   U"蝋蠟",   U"読讀", U"軽輕", U"郷鄕鄉",   U"釈釋",
    U"銭錢", U"鋭銳",   U"隠隱",       U"霊靈",   U"駅驛",   U"駆驅",   U"闘鬪",   U"鶏鷄",   U"麦麥", U"点點", U"歯齒",     U"舎舍",
    U"柏栢", U"松枩",   U"凛凜",       U"涼凉",   U"昇曻",   U"喜㐂",   U"第㐧",   U"煕熙凞",
};

const std::unordered_map<char32_t, char32_t>& variants() {
  static const auto table = [] {
    std::unordered_map<char32_t, char32_t> out;
    for (const auto group : variant_groups)
      for (const char32_t c : group.substr(1))
        if (c != group[0]) out.emplace(c, group[0]);
    return out;
  }();
  return table;
}

std::u32string match_points(std::string_view name) {
  std::u32string out;
  bool space = false;
  for (char32_t c : nfkc_points(name)) {
    if (is_invisible(c)) continue;
    if (is_space(c)) {
      space = true;
      continue;
    }
    if (space && !out.empty()) out.push_back(U' ');
    space = false;
    if ((c >= U'ぁ' && c <= U'ゖ') || c == U'ゝ' || c == U'ゞ') c += U'ァ' - U'ぁ';
    if (const auto found = variants().find(c); found != variants().end()) c = found->second;
    out.push_back(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))));
  }
  return out;
}

bool is_filler(char32_t c) {
  return c == U' ' || c == U'ー' || c == U'-' || (c >= U'‐' && c <= U'―') || c == U'−' || c == U'〜' || c == U'~' || c == U'・' ||
         c == U'·' || c == U'•' || c == U'‧' || c == U'∙' || c == U'⋅';
}

/// Small kana are large and old or rare ones are today's.
char32_t plain_kana(char32_t c) {
  constexpr std::u32string_view from = U"ァィゥェォッャュョヮヵヶヂヅヰヱヲヷヸヹヺ";
  constexpr std::u32string_view to = U"アイウエオツヤユヨワカケジズイエオバビベボ";
  const auto at = from.find(c);
  return at == from.npos ? c : to[at];
}

std::u32string loose_points(std::string_view name) {
  const auto key = match_points(name);
  std::u32string out;
  out.reserve(key.size());
  for (std::size_t i = 0; i < key.size(); ++i) {
    const char32_t c = key[i];
    if (is_filler(c)) continue;
    if (c == U'ヴ') {
      constexpr std::u32string_view vowels = U"ァィェォ", sounds = U"バビベボ";
      const auto at = i + 1 < key.size() ? vowels.find(key[i + 1]) : vowels.npos;
      out.push_back(at == vowels.npos ? U'ブ' : sounds[at]);
      if (at != vowels.npos) ++i;
    } else if ((c == U'々' || c == U'ヽ' || c == U'〻') && !out.empty()) {
      out.push_back(out.back());
    } else {
      out.push_back(plain_kana(c));
    }
  }
  return out;
}

/// A mark, or a piece of a syllable, that may join the character before it once what stood between them is left out.
bool may_join(char32_t c) { return c >= 0x300 && u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NFKC_QUICK_CHECK) != UNORM_YES; }

/// A key's key is itself: what its making brought together is composed as if it had been typed so.
std::string settled(std::string_view name, std::u32string (*points_of)(std::string_view)) {
  auto key = points_of(name);
  for (auto left = key.size(); left > 0 && std::any_of(key.begin(), key.end(), may_join); --left) {
    auto again = points_of(to_utf8(key));
    if (again == key) break;
    key = std::move(again);
  }
  return to_utf8(key);
}

}  // namespace

std::string match_key(std::string_view name) { return settled(name, match_points); }

std::string loose_key(std::string_view name) { return settled(name, loose_points); }

}  // namespace enishi::crm::japanese
