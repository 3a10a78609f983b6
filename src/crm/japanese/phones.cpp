#include "crm/japanese/phones.hpp"

#include <fmt/format.h>
#include <phonenumbers/phonenumberutil.h>

#include <algorithm>
#include <array>
#include <optional>

#include "crm/japanese/unicode.hpp"

namespace enishi::crm::japanese {

namespace {

using i18n::phonenumbers::PhoneNumber;
using i18n::phonenumbers::PhoneNumberUtil;

/// What a Japanese prefix (after the trunk 0) means. libphonenumber 8.12 does not know 60; the others agree with it.
/// Source: the numbering plan of the Ministry of Internal Affairs and Communications.
struct Prefix {
  std::string_view digits;
  std::size_t length;  // of the national number without its 0
  PhoneKind kind;
};
constexpr std::array<Prefix, 10> prefixes{{{"60", 10, PhoneKind::MOBILE},
                                           {"70", 10, PhoneKind::MOBILE},
                                           {"80", 10, PhoneKind::MOBILE},
                                           {"90", 10, PhoneKind::MOBILE},
                                           {"50", 10, PhoneKind::IP},
                                           {"120", 9, PhoneKind::TOLL_FREE},
                                           {"800", 10, PhoneKind::TOLL_FREE},
                                           {"20", 10, PhoneKind::OTHER},
                                           {"570", 9, PhoneKind::OTHER},
                                           {"990", 9, PhoneKind::OTHER}}};
constexpr std::string_view newer_than_the_data[] = {"60"};

/// The longest prefix wins: 0800 is toll-free and 080 is mobile.
const Prefix* prefix_of(std::string_view national) {
  const Prefix* best = nullptr;
  for (const auto& p : prefixes)
    if (national.starts_with(p.digits) && national.size() == p.length && (!best || p.digits.size() > best->digits.size())) best = &p;
  return best;
}

PhoneKind foreign_kind(const PhoneNumberUtil& util, const PhoneNumber& number) {
  switch (util.GetNumberType(number)) {
    case PhoneNumberUtil::MOBILE:
      return PhoneKind::MOBILE;
    case PhoneNumberUtil::FIXED_LINE:
      return PhoneKind::FIXED;
    case PhoneNumberUtil::TOLL_FREE:
      return PhoneKind::TOLL_FREE;
    case PhoneNumberUtil::VOIP:
      return PhoneKind::IP;
    default:
      return PhoneKind::OTHER;
  }
}

/// One number without its extension, from digits with an optional + before them. Empty when it is not possible.
std::optional<Phone> dialable(std::string_view digits) {
  constexpr int japan = 81;
  constexpr std::size_t e164_digits = 15;
  if (digits.size() > 24) return std::nullopt;
  const auto& util = *PhoneNumberUtil::GetInstance();
  PhoneNumber number;
  if (util.Parse(std::string(digits), "JP", &number) != PhoneNumberUtil::NO_PARSING_ERROR) return std::nullopt;
  if (!util.IsPossibleNumber(number)) return std::nullopt;
  std::string national;
  util.GetNationalSignificantNumber(number, &national);
  Phone phone;
  phone.possible = true;
  phone.valid_hint = util.IsValidNumber(number);
  if (number.country_code() == japan) {
    // The library finds 8 to 17 digits possible in Japan, which two numbers run together are too. Numbers that begin with 020, 050 to 090
    // and 0800 have eleven digits with their 0, all others ten.
    constexpr std::string_view eleven = "256789";
    const std::size_t usual = national[1] == '0' && eleven.find(national[0]) != eleven.npos ? 10 : 9;
    if (!phone.valid_hint && national.size() != usual) return std::nullopt;
    if (const auto* prefix = prefix_of(national)) {
      phone.kind = prefix->kind;
      phone.valid_hint = phone.valid_hint || std::ranges::find(newer_than_the_data, prefix->digits) != std::end(newer_than_the_data);
    } else {
      phone.kind = national.size() == 9 ? PhoneKind::FIXED : PhoneKind::OTHER;  // M2M numbers have 13
    }
  } else {
    phone.kind = foreign_kind(util, number);
  }
  util.Format(number, PhoneNumberUtil::E164, &phone.e164);
  const auto length = phone.e164.size() - 1;
  if (phone.e164[1] == '0' || length < 7 || length > e164_digits) return std::nullopt;
  // Zeros too many behind a country code are taken off one at a time: such a number would be another one when it is read again.
  PhoneNumber again;
  std::string settled;
  if (number.country_code() == japan ? national[0] == '0' : util.Parse(phone.e164, "JP", &again) != PhoneNumberUtil::NO_PARSING_ERROR)
    return std::nullopt;
  if (number.country_code() != japan) {
    util.Format(again, PhoneNumberUtil::E164, &settled);
    if (settled != phone.e164) return std::nullopt;
  }
  return phone;
}

/// 184 (withhold mine) and 186 (show mine) are dialled before a number and are no part of it.
std::string_view without_caller_id_prefix(std::string_view digits) {
  const bool prefixed =
      (digits.starts_with("184") || digits.starts_with("186")) && digits.size() > 3 && (digits[3] == '0' || digits[3] == '+');
  return prefixed ? digits.substr(3) : digits;
}

// The cell becomes tokens. A piece is digits without a gap but hyphens and brackets; between pieces there is a gap (a space or a middle
// dot, which people also put inside a number) or a break (a separator or words, which nobody does).
enum class Joint { start, gap, breaks };

struct Piece {
  Joint before = Joint::start;
  std::string digits;     // may begin with +
  std::string extension;  // found behind it
  std::size_t begin = 0, end = 0;
};

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

bool is_hyphen(char32_t c) {
  return c == U'-' || (c >= U'‐' && c <= U'―') || c == U'−' || c == U'ー' || c == U'─' || c == U'━' || c == U'.' || c == U'(' ||
         c == U')' || c == U'[' || c == U']' || c == U'〔' || c == U'〕' || c == U'【' || c == U'】';
}

/// (03) and (1234) are part of a number; a bracket with words in it is a note.
bool opens_note(std::u32string_view text, std::size_t at) {
  if (text[at] != U'(' && text[at] != U'[' && text[at] != U'〔' && text[at] != U'【') return false;
  for (auto i = at + 1; i < text.size(); ++i) {
    if (text[i] == U')' || text[i] == U']' || text[i] == U'〕' || text[i] == U'】') return false;
    if (!is_digit(text[i]) && !is_hyphen(text[i]) && text[i] != U' ') return true;
  }
  return false;
}

bool is_gap(char32_t c) { return c == U' ' || c == U'・'; }

std::u32string plain_text(std::string_view raw) {
  std::u32string out;
  const auto points = nfkc_points(raw);
  for (const char32_t c : points) {
    if (c == U'\n' || c == U'\r' || c == U'\t' || c == U'\v' || c == U'\f' || c == 0x2028 || c == 0x2029 || c == 0x85) {
      out.push_back(U'\n');
    } else if (is_space(c)) {
      out.push_back(U' ');
    } else if (!is_invisible(c)) {
      out.push_back(c >= U'A' && c <= U'Z' ? c - U'A' + U'a' : c);
    }
  }
  return out;
}

/// sip:09012345678@host;user=phone and tel:+81-3-1234-5678;ext=12 carry the number in front.
std::u32string without_uri(std::u32string text) {
  const bool uri = text.find(U"sip:") != text.npos || text.find(U"sips:") != text.npos || text.find(U"tel:") == 0;
  if (!uri) return text;
  if (const auto at = text.find(U'@'); at != text.npos) text.resize(at);
  return text;
}

/// Length of the words 内線, ext. … at `at` and of all up to the extension's digits; 0 when there is no extension.
std::size_t extension_words(std::u32string_view text, std::size_t at) {
  constexpr std::u32string_view words[] = {U"内線番号", U"内線", U"内", U"extension", U"extn", U"ext", U"x", U"#"};
  // fax 03-… and 案内 03-… are labels of the next number.
  const char32_t before = at > 0 ? text[at - 1] : U' ';
  const bool inside_word = (before >= U'a' && before <= U'z') || before >= 0x3005;
  for (const auto word : words) {
    if (!text.substr(at).starts_with(word)) continue;
    if (inside_word && word[0] != U'#' && !word.starts_with(U"内線")) continue;
    auto i = at + word.size();
    while (i < text.size() && (text[i] == U' ' || text[i] == U':' || text[i] == U'.' || text[i] == U')' || text[i] == U'=' ||
                               text[i] == U'-' || text[i] == U'#'))
      ++i;
    if (i < text.size() && is_digit(text[i])) return i - at;
  }
  return 0;
}

std::vector<Piece> pieces_of(std::u32string_view text) {
  std::vector<Piece> out;
  Joint joint = Joint::start;
  bool open = false;  // the last piece may still grow
  for (std::size_t i = 0; i < text.size();) {
    const char32_t c = text[i];
    if (is_digit(c) || (c == U'+' && i + 1 < text.size() && (is_digit(text[i + 1]) || is_hyphen(text[i + 1]) || text[i + 1] == U' '))) {
      if (!open || c == U'+') {
        out.push_back({out.empty() ? Joint::start : (c == U'+' ? Joint::breaks : joint), {}, {}, i, i});
        open = true;
      }
      out.back().digits.push_back(static_cast<char>(c));
      out.back().end = ++i;
      joint = Joint::start;
      if (c == U'+')
        while (i < text.size() && (is_hyphen(text[i]) || text[i] == U' ')) ++i;
      continue;
    }
    if (!out.empty() && out.back().digits.size() >= 5) {
      if (const auto skip = extension_words(text, i); skip > 0) {
        std::string digits;
        for (i += skip; i < text.size() && is_digit(text[i]); ++i) digits.push_back(static_cast<char>(text[i]));
        out.back().extension += digits;
        out.back().end = i;
        open = false;
        joint = Joint::breaks;
        continue;
      }
    }
    if (is_gap(c)) {
      if (open) joint = Joint::gap;
      open = false;
    } else if (!is_hyphen(c) || opens_note(text, i)) {
      joint = Joint::breaks;
      open = false;
    }
    ++i;
  }
  return out;
}

bool contains_any(std::u32string_view text, std::initializer_list<std::u32string_view> words) {
  return std::ranges::any_of(words, [&](auto word) { return text.find(word) != text.npos; });
}

bool is_withheld(std::u32string_view text) {
  return contains_any(
      text, {U"非通知", U"ヒツウチ", U"ひつうち", U"anonymous", U"unknown", U"表示圏外", U"圏外", U"公衆電話", U"コウシュウ", U"通知不可",
             U"通知不能", U"private", U"withheld", U"restricted", U"unavailable", U"out of area", U"payphone", U"coin line"});
}

bool is_nothing(std::u32string_view text) {
  std::u32string plain;
  for (const char32_t c : text)
    if (!is_gap(c) && !is_hyphen(c) && c != U'\n' && c != U'/') plain.push_back(c);
  constexpr std::u32string_view nothing[] = {U"", U"なし", U"ナシ", U"無し", U"無", U"none", U"null", U"na", U"nil", U"不明"};
  return std::ranges::find(nothing, std::u32string_view(plain)) != std::end(nothing);
}

std::size_t digit_count(std::string_view digits) { return digits.size() - (digits.starts_with('+') ? 1 : 0); }

/// A run of pieces that only gaps part: one number written with gaps, or several side by side. The readings are tried from the one
/// number down to a number a piece; empty when none fits.
std::optional<std::vector<Phone>> read_run(std::u32string_view text, const std::vector<Piece>& run) {
  const auto number = [&](std::size_t from, std::size_t to) -> std::optional<Phone> {
    std::string digits;
    for (auto i = from; i < to; ++i) {
      if (i > from && run[i].digits.starts_with('+')) return std::nullopt;
      if (i + 1 < to && !run[i].extension.empty()) return std::nullopt;
      digits += run[i].digits;
    }
    auto phone = dialable(without_caller_id_prefix(digits));
    if (!phone) return std::nullopt;
    phone->extension = run[to - 1].extension;
    phone->raw = to_utf8(text.substr(run[from].begin, run[to - 1].end - run[from].begin));
    return phone;
  };
  // Greedy from the left with the fewest pieces that make a number would split "03 1234 5678 …" wrongly only where a shorter part is
  // possible by itself; so the longest is taken first, and a rest that is no number sends us back to a shorter one.
  std::vector<Phone> phones;
  const auto walk = [&](const auto& self, std::size_t from) -> bool {
    if (from == run.size()) return true;
    if (phones.size() >= max_phones + 1) return false;
    for (auto to = std::min(run.size(), from + 8); to > from; --to) {
      auto phone = number(from, to);
      if (!phone) continue;
      phones.push_back(std::move(*phone));
      if (self(self, to)) return true;
      phones.pop_back();
    }
    return false;
  };
  if (!walk(walk, 0)) return std::nullopt;
  return phones;
}

tl::unexpected<Error> refuse(std::string code, std::string_view raw, std::string_view why) {
  const auto shown = to_utf8(std::u32string_view(to_points(raw.substr(0, 400))).substr(0, max_phone_text));
  return fail(Kind::unprocessable, std::move(code), fmt::format("「{}」 {}", shown, why));
}

/// 携帯2, (20時以降: a few digits that a word touches are no number.
bool is_note(std::u32string_view text, const Piece& piece) {
  const auto word_at = [&](std::size_t at) {
    return at < text.size() && text[at] >= 0x3005 && text[at] != 0xfffd && text[at] != U'〜' && text[at] != U'・' && !is_hyphen(text[at]);
  };
  return digit_count(piece.digits) <= 2 && (word_at(piece.end) || (piece.begin > 0 && word_at(piece.begin - 1)));
}

/// Something follows what could be a whole number.
bool starts_with_a_number(const std::vector<Piece>& run) {
  std::string digits;
  for (std::size_t i = 0; i + 1 < run.size(); ++i) {
    digits += run[i].digits;
    if (dialable(without_caller_id_prefix(digits))) return true;
  }
  return false;
}

/// The runs of one cell, each read; nothing is dropped but labels and notes.
Result<std::vector<Phone>> read_cell(std::string_view raw, std::u32string_view text, const std::vector<Piece>& pieces) {
  constexpr std::size_t shortest = 5, longest = 15;
  constexpr auto ambiguous = "may be several numbers; write each one whole, separated by a comma.";
  std::vector<Phone> phones;
  for (std::size_t i = 0; i < pieces.size();) {
    std::vector<Piece> run{pieces[i++]};
    while (i < pieces.size() && pieces[i].before == Joint::gap) run.push_back(pieces[i++]);
    const bool alone = run.size() == pieces.size();
    auto read = read_run(text, run);
    if (!read && is_note(text, run.front())) {
      run.erase(run.begin());
      if (run.empty() && !alone) continue;
      read = run.empty() ? std::nullopt : read_run(text, run);
    }
    if (read) {
      phones.insert(phones.end(), read->begin(), read->end());
      continue;
    }
    std::size_t digits = 0;
    for (const auto& piece : run) digits += digit_count(piece.digits);
    if (!alone || digits > longest || starts_with_a_number(run)) return refuse("PHONE_AMBIGUOUS", raw, ambiguous);
    if (digits < shortest) return refuse("PHONE_INVALID", raw, "is too short for a phone number; write it with its area code.");
    Phone kept;
    kept.raw = trimmed(raw);
    kept.extension = run.back().extension;
    phones.push_back(std::move(kept));
  }
  if (phones.empty()) return refuse("PHONE_INVALID", raw, "holds no phone number; write it with its area code.");
  return phones;
}

}  // namespace

std::string_view to_string(PhoneKind kind) {
  constexpr std::array<std::string_view, 5> names{"MOBILE", "FIXED", "TOLL_FREE", "IP", "OTHER"};
  return names.at(static_cast<std::size_t>(kind));
}

Result<std::vector<Phone>> parse_phones(std::string_view raw) {
  if (raw.size() > 4 * max_phone_text || to_points(raw).size() > max_phone_text)
    return refuse("PHONE_TOO_LONG", raw, fmt::format("is longer than {} characters; put notes elsewhere.", max_phone_text));
  const auto text = without_uri(plain_text(raw));
  if (is_nothing(text)) return refuse("PHONE_MISSING", raw, "holds no phone number.");
  const auto pieces = pieces_of(text);
  const bool has_number = std::ranges::any_of(pieces, [](const Piece& p) { return digit_count(p.digits) >= 5; });
  if (!has_number && is_withheld(text)) return refuse("PHONE_WITHHELD", raw, "is no number: the caller's number was not shown.");
  if (pieces.empty()) return refuse("PHONE_INVALID", raw, "holds no digits; write the number with its area code.");

  auto phones = read_cell(raw, text, pieces);
  if (!phones) return phones;
  std::vector<Phone> once;
  for (auto& phone : *phones) {
    const auto same = [&](const Phone& p) { return p.e164 == phone.e164 && p.extension == phone.extension && !p.e164.empty(); };
    if (std::ranges::none_of(once, same)) once.push_back(std::move(phone));
  }
  if (once.size() > max_phones) return refuse("PHONE_TOO_LONG", raw, fmt::format("holds more than {} numbers.", max_phones));
  for (const auto& phone : once)
    if (phone.extension.size() > 10) return refuse("PHONE_INVALID", raw, "has an extension of more than 10 digits.");
  if (once.size() == 1) once.front().raw = trimmed(raw);
  return once;
}

}  // namespace enishi::crm::japanese
