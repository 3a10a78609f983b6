#include "cli/demo/legacy/legacy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <vector>

#include "cli/demo/demo.hpp"
#include "cli/demo/names.hpp"
#include "cli/demo/rows.hpp"
#include "cli/demo/words.hpp"
#include "cli/offline.hpp"
#include "crm/japanese/postal_codes.hpp"
#include "embedded/legacy_schema.hpp"

namespace enishi::cli::demo {
namespace {

Deadline long_deadline() { return Deadline::in(Millis(3600 * 1000)); }

enum class Of : std::uint64_t { name = 40, born, kind, phone, address, history, inquiry, item, visit, contact, goods };

/// ｱ for ア and so on, with the marks of ガ and パ apart, as the terminals of old typed it.
std::string half_width(std::string_view kana) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 82> table{
      {{"ア", "ｱ"},  {"イ", "ｲ"},  {"ウ", "ｳ"},  {"エ", "ｴ"},  {"オ", "ｵ"},  {"カ", "ｶ"},  {"キ", "ｷ"},  {"ク", "ｸ"},  {"ケ", "ｹ"},
       {"コ", "ｺ"},  {"サ", "ｻ"},  {"シ", "ｼ"},  {"ス", "ｽ"},  {"セ", "ｾ"},  {"ソ", "ｿ"},  {"タ", "ﾀ"},  {"チ", "ﾁ"},  {"ツ", "ﾂ"},
       {"テ", "ﾃ"},  {"ト", "ﾄ"},  {"ナ", "ﾅ"},  {"ニ", "ﾆ"},  {"ヌ", "ﾇ"},  {"ネ", "ﾈ"},  {"ノ", "ﾉ"},  {"ハ", "ﾊ"},  {"ヒ", "ﾋ"},
       {"フ", "ﾌ"},  {"ヘ", "ﾍ"},  {"ホ", "ﾎ"},  {"マ", "ﾏ"},  {"ミ", "ﾐ"},  {"ム", "ﾑ"},  {"メ", "ﾒ"},  {"モ", "ﾓ"},  {"ヤ", "ﾔ"},
       {"ユ", "ﾕ"},  {"ヨ", "ﾖ"},  {"ラ", "ﾗ"},  {"リ", "ﾘ"},  {"ル", "ﾙ"},  {"レ", "ﾚ"},  {"ロ", "ﾛ"},  {"ワ", "ﾜ"},  {"ン", "ﾝ"},
       {"ッ", "ｯ"},  {"ャ", "ｬ"},  {"ュ", "ｭ"},  {"ョ", "ｮ"},  {"ァ", "ｧ"},  {"ィ", "ｨ"},  {"ェ", "ｪ"},  {"ォ", "ｫ"},  {"ー", "ｰ"},
       {"ガ", "ｶﾞ"}, {"ギ", "ｷﾞ"}, {"グ", "ｸﾞ"}, {"ゲ", "ｹﾞ"}, {"ゴ", "ｺﾞ"}, {"ザ", "ｻﾞ"}, {"ジ", "ｼﾞ"}, {"ズ", "ｽﾞ"}, {"ゼ", "ｾﾞ"},
       {"ゾ", "ｿﾞ"}, {"ダ", "ﾀﾞ"}, {"ヂ", "ﾁﾞ"}, {"ヅ", "ﾂﾞ"}, {"デ", "ﾃﾞ"}, {"ド", "ﾄﾞ"}, {"バ", "ﾊﾞ"}, {"ビ", "ﾋﾞ"}, {"ブ", "ﾌﾞ"},
       {"ベ", "ﾍﾞ"}, {"ボ", "ﾎﾞ"}, {"パ", "ﾊﾟ"}, {"ピ", "ﾋﾟ"}, {"プ", "ﾌﾟ"}, {"ペ", "ﾍﾟ"}, {"ポ", "ﾎﾟ"}, {"ヴ", "ｳﾞ"}, {"ヲ", "ｦ"},
       {"　", " "}}};
  std::string out;
  for (std::size_t at = 0; at < kana.size();) {
    const auto length = static_cast<unsigned char>(kana[at]) >= 0xe0 ? 3U : 1U;
    const auto letter = kana.substr(at, length);
    const auto* found = std::find_if(table.begin(), table.end(), [letter](const auto& pair) { return pair.first == letter; });
    out += found == table.end() ? letter : found->second;
    at += length;
  }
  return out;
}

std::string full_width(std::string_view digits) {
  static constexpr std::array<std::string_view, 10> wide{"０", "１", "２", "３", "４", "５", "６", "７", "８", "９"};
  std::string out;
  for (const char c : digits) {
    if (c >= '0' && c <= '9')
      out += wide[static_cast<std::size_t>(c - '0')];
    else if (c == '-')
      out += "－";
    else
      out.push_back(c);
  }
  return out;
}

struct Town {
  std::string postal, prefecture, city, town;
};

/// Everything the tables of three databases must agree on is a function of the index here.
struct Company {
  LegacyOptions o;
  std::vector<Town> towns;

  explicit Company(LegacyOptions options) : o(std::move(options)) {
    if (o.until == 0) o.until = std::time(nullptr) / 60 * 60;
    crm::japanese::for_each_postal_row([&](const crm::japanese::PostalRow& row) {
      if (row.town.empty() || row.town.find_first_of("0123456789") != std::string_view::npos) return;
      towns.push_back({std::string(row.postal_code), std::string(row.prefecture), std::string(row.city), std::string(row.town)});
    });
    if (towns.empty()) throw std::runtime_error("no town was found in the postal data");
  }
  [[nodiscard]] Draw draw(Of of, std::int64_t i) const { return {o.seed, static_cast<std::uint64_t>(of), i}; }
  /// Its number at 顧客管理: not every number is somebody.
  [[nodiscard]] static std::int64_t number(std::int64_t i) { return 1000 + i + i / 7; }
  /// Japan's clock, which is all that these databases know.
  [[nodiscard]] std::string clock(std::int64_t at) const { return stamp(at + kJapan).substr(0, 19); }
  [[nodiscard]] std::string day(std::int64_t at) const {
    int y, m, d;
    civil((at + kJapan) / kDay, y, m, d);
    return fmt::format("{:04}{:02}{:02}", y, m, d);
  }
  [[nodiscard]] std::int64_t entered(std::int64_t i) const { return o.until - kDay * 900 + (i * 7919) % (kDay * 890); }

  [[nodiscard]] std::string phone(std::int64_t i, Draw& d) const {
    const auto e164 = demo_phone(i);
    const auto dashed = fmt::format("0{}-{}-{}", e164.substr(3, 2), e164.substr(5, 4), e164.substr(9));
    const auto line = fmt::format("03-{:04}-{:04}", 3000 + d.below(6999), d.below(10000));
    switch (d.below(10)) {
      case 0:
        return "0" + e164.substr(3);
      case 1:
        return full_width(dashed);
      case 2:
        return dashed + " / " + line;
      case 3:
        return line + " 内線" + std::to_string(100 + d.below(900));
      case 4:
        return fmt::format("({}){}", dashed.substr(0, 3), dashed.substr(4));
      default:
        return dashed;
    }
  }
};

struct Table {
  std::string_view name, columns;
  std::int64_t n;
  std::function<void(std::int64_t i, std::string& out)> make;
};

void blank(RowText& row, bool empty, std::string_view text) {
  if (empty)
    row << nullptr;
  else
    row << text;
}

std::vector<Table> customers(const Company& c) {
  std::vector<Table> all;
  all.push_back(
      {"m_kokyaku",
       "kokyaku_no, shimei, shimei_kana, seibetsu, seinengappi, kokyaku_kbn, dm_fuka, email, biko, tanto_cd, tel_su, jusho_su, del_flg, "
       "toroku_ts, koshin_ts",
       c.o.customers, [&c](std::int64_t i, std::string& out) {
         auto d = c.draw(Of::name, i);
         const auto& family = d.pick(surnames);
         const auto given_at = static_cast<std::size_t>(d.below(static_cast<std::int64_t>(given_names.size())));
         const auto& given = given_names[given_at];
         static constexpr std::array<std::string_view, 10> gaps{"　", "　", "　", " ", " ", " ", " ", " ", " ", ""};
         const auto kana = fmt::format("{} {}", family.kana, given.kana);
         const auto kana_way = d.below(20);
         const auto born_way = d.below(10);
         auto k = c.draw(Of::kind, i);
         const auto kind = k.below(100);
         RowText row(out);
         row << Company::number(i) << fmt::format("{}{}{}", family.kanji, d.pick(gaps), given.kanji);
         blank(row, kana_way == 0, kana_way < 10 ? half_width(kana) : kana);
         row << (kana_way == 19 ? "不明" : given_at < 40 ? "女" : "男");
         blank(row, born_way < 2,
               born_way == 2 ? "00000000" : fmt::format("{:04}{:02}{:02}", 1935 + d.below(65), 1 + d.below(12), 1 + d.below(28)));
         row << (kind < 90 ? 1 : kind < 95 ? 2 : kind < 99 ? 3 : 4) << (k.percent(10) ? 1 : 0);
         blank(row, !k.percent(30), fmt::format("kokyaku{}@example.jp", i));
         blank(row, !k.percent(12), k.pick(wishes));
         row << fmt::format("{:04}", 1 + k.below(60))
             << (c.draw(Of::phone, i).below(20) == 0  ? 0
                 : c.draw(Of::phone, i).below(20) < 7 ? 2
                                                      : 1)
             << (c.draw(Of::address, i).percent(12) ? 2 : 1) << (k.percent(3) ? "1" : "0") << c.clock(c.entered(i))
             << c.clock(c.entered(i));
       }});
  all.push_back({"t_tel", "tel_id, kokyaku_no, tel_kbn, tel_no, hyoji_jun, biko", c.o.customers, [&c](std::int64_t i, std::string& out) {
                   auto d = c.draw(Of::phone, i);
                   const auto many = d.below(20);
                   if (many == 0) return;
                   // Every 25th shares the number of the one before: a family.
                   RowText(out) << 2 * i << Company::number(i) << (d.percent(70) ? 2 : 0) << c.phone(i % 25 == 0 ? i - 1 : i, d) << 1
                                << nullptr;
                   if (many < 7)
                     RowText(out) << 2 * i + 1 << Company::number(i) << (d.percent(80) ? 1 : 3)
                                  << fmt::format("06-{:04}-{:04}", 6000 + d.below(1000), d.below(10000)) << 2 << "昼間";
                 }});
  all.push_back({"t_jusho", "kokyaku_no, eda_no, yubin_no, jusho1, jusho2, jusho3, del_flg", c.o.customers + 1,
                 [&c](std::int64_t i, std::string& out) {
                   if (i > c.o.customers) {  // parked by somebody, years ago: addresses of nobody
                     for (int n = 1; n <= 3; ++n) RowText(out) << 0 << n << nullptr << "東京都" << "不明" << nullptr << "0";
                     return;
                   }
                   auto d = c.draw(Of::address, i);
                   const int many = d.percent(12) ? 2 : 1;
                   for (int n = 1; n <= many; ++n) {
                     const auto& t = d.pick(c.towns);
                     const auto street = fmt::format("{}-{}-{}", 1 + d.below(6), 1 + d.below(30), 1 + d.below(20));
                     const auto way = d.below(10);
                     RowText row(out);
                     row << Company::number(i) << n;
                     blank(row, way == 9, way < 5 ? t.postal.substr(0, 3) + "-" + t.postal.substr(3) : t.postal);
                     row << t.prefecture + t.city << t.town + (way < 3 ? full_width(street) : street);
                     blank(row, !d.percent(35), fmt::format("{}号室", 101 + d.below(9) * 100 + d.below(12)));
                     row << (n == 2 && d.percent(20) ? "1" : "0");
                   }
                 }});
  all.push_back(
      {"t_kokyaku_rireki", "rireki_id, kokyaku_no, hassei_ts, sosa, naiyo", c.o.customers / 4, [&c](std::int64_t i, std::string& out) {
         RowText(out) << i << Company::number(i * 4) << c.clock(c.entered(i * 4) + 3600) << "変更" << "住所を確認";
       }});
  all.push_back({"w_torikomi", "file_mei, gyo, naiyo", std::min<std::int64_t>(c.o.customers, 1000),
                 [](std::int64_t i, std::string& out) { RowText(out) << fmt::format("list-{}", i % 100) << i << "未確認"; }});
  return all;
}

std::vector<Table> inquiries(const Company& c) {
  std::vector<Table> all;
  // Customer i has inquiry 2i, one in five another one: 2i + 1.
  const auto each = [&c](auto make) {
    return [&c, make](std::int64_t i, std::string& out) {
      make(2 * i, i, out);
      if (c.draw(Of::inquiry, -i).percent(20)) make(2 * i + 1, i, out);
    };
  };
  const auto state = [&c](std::int64_t n) {
    const auto r = c.draw(Of::inquiry, n).below(100);
    return r < 8 ? 0 : r < 20 ? 10 : r < 35 ? 20 : r < 45 ? 30 : r < 50 ? 40 : r < 65 ? 50 : r < 72 ? 51 : r < 95 ? 90 : 99;
  };
  const auto items = [&c](std::int64_t n) { return c.draw(Of::item, n).percent(30) ? 2 : 1; };
  all.push_back(
      {"t_hankyo",
       "hankyo_no, kokyaku_no, baitai_cd, keiro, uketsuke_bi, uketsuke_jikan, jokyo, riyu_cd, riyu, tanto_cd, jikai_kbn, jikai_ts, memo, "
       "gaibu_no, jihatsu_flg, meisai_su, del_flg, toroku_ts, koshin_ts",
       c.o.customers, each([&c, state, items](std::int64_t n, std::int64_t i, std::string& out) {
         static constexpr std::array<std::string_view, 6> media{"WEB", "KEN", "CHI", "TV ", "ZAS", "SHO"};
         static constexpr std::array<std::string_view, 4> ways{"電話", "WEB", "名簿", "その他"};
         auto d = c.draw(Of::contact, -n);
         const auto s = state(n);
         const auto at = c.entered(i) + kDay * (n % 2) * 5;
         RowText row(out);
         row << n << Company::number(i) << d.pick(media);
         const auto way = d.pick(ways);
         row << way << c.day(at) << fmt::format("{:02}{:02}", 9 + d.below(11), d.below(60)) << s;
         if (s == 90)
           row << (d.percent(90) ? 1 + d.below(4) : 9);
         else if (s == 99)
           row << 11 + d.below(4);
         else
           row << nullptr;
         blank(row, s != 90, d.pick(lost_reasons));
         blank(row, d.percent(10), fmt::format("{:04}", 1 + d.below(60)));
         if (s == 10 || s == 20)
           row << (s == 20 ? 4 : 2) << c.clock((c.o.until / kDay + d.below(20)) * kDay + 3600 * d.below(10));
         else
           row << nullptr << nullptr;
         blank(row, d.percent(60), d.pick(memos));
         blank(row, way != "WEB", fmt::format("W{:08}", n));
         row << (way == "名簿" ? "0" : "1") << items(n) << (d.percent(2) ? "1" : "0") << c.clock(at) << c.clock(at);
       })});
  all.push_back({"t_hankyo_meisai", "hankyo_no, gyo_no, bunrui_cd, hinmei, suryo", c.o.customers,
                 each([&c, items](std::int64_t n, std::int64_t, std::string& out) {
                   auto d = c.draw(Of::item, -n);
                   for (int k = 1; k <= items(n); ++k) {
                     RowText row(out);
                     row << n << k << fmt::format("{:04}", 1 + d.below(15)) << d.pick(wishes);
                     if (d.percent(30))
                       row << nullptr;
                     else
                       row << 1 + d.below(20);
                   }
                 })});
  all.push_back({"t_apo", "apo_no, hankyo_no, homon_bi, kaishi_jikan, shuryo_jikan, jokyo, tanto_cd, yubin_no, homon_saki, riyu, koshin_ts",
                 c.o.customers, each([&c, state](std::int64_t n, std::int64_t i, std::string& out) {
                   const auto s = state(n);
                   if (s != 20 && (s < 30 || s > 51)) return;
                   auto d = c.draw(Of::visit, n);
                   if (s == 20 && !d.percent(30)) return;
                   const auto hour = 9 + d.below(8);
                   const auto at = s == 30 ? c.o.until + kDay * (1 + d.below(13)) : c.entered(i) + kDay * 6;
                   const auto& t = d.pick(c.towns);
                   RowText row(out);
                   row << n << n << c.day(at) << fmt::format("{:02}00", hour) << fmt::format("{:02}00", hour + 2)
                       << (s == 20   ? 8
                           : s == 30 ? 1 + d.below(3)
                                     : 5)
                       << fmt::format("{:04}", 10 * (1 + d.below(6))) << t.postal << t.prefecture + t.city + t.town;
                   blank(row, s != 20, "お客様都合");
                   row << c.clock(at - kDay);
                 })});
  all.push_back({"t_taio", "taio_no, hankyo_no, taio_ts, kekka, tanto_cd, memo", c.o.customers,
                 each([&c](std::int64_t n, std::int64_t i, std::string& out) {
                   auto d = c.draw(Of::contact, n);
                   for (std::int64_t k = 0; k < 1 + d.below(3); ++k)
                     RowText(out) << n * 4 + k << n << c.clock(c.entered(i) + kDay * k + d.below(36000)) << d.below(6)
                                  << fmt::format("{:04}", 1 + d.below(60)) << d.pick(memos);
                 })});
  all.push_back({"w_denwa_memo", "tel, naiyo", 20,
                 [](std::int64_t i, std::string& out) { RowText(out) << fmt::format("03-0000-{:04}", i) << "折り返し希望"; }});
  return all;
}

std::vector<Table> goods(const Company& c) {
  std::vector<Table> all;
  all.push_back({"t_shohin", "shohin_no, bunrui_cd, hankyo_no, hinmei, jotai, kaitori_kin, kaitori_bi, biko",
                 std::max<std::int64_t>(10, c.o.customers / 5), [&c](std::int64_t i, std::string& out) {
                   static constexpr std::array<std::string_view, 6> names{"訪問着　正絹", "ﾈｯｸﾚｽ K18",  "腕時計（手巻）",
                                                                          "切手ｱﾙﾊﾞﾑ",    "茶道具一式", "銀貨 10枚"};
                   auto d = c.draw(Of::goods, i);
                   RowText row(out);
                   row << i << fmt::format("{:04}", 1 + d.below(15)) << 2 * (1 + d.below(c.o.customers)) << d.pick(names) << 1 + d.below(4);
                   if (d.percent(20))
                     row << nullptr << nullptr;
                   else
                     row << 500 * (1 + d.below(600)) << c.day(c.o.until - kDay * d.below(800));
                   blank(row, d.percent(80), "箱なし");
                 }});
  all.push_back({"w_soba", "bunrui_cd, chosa_bi, kingaku", 50, [&c](std::int64_t i, std::string& out) {
                   RowText(out) << fmt::format("{:04}", 1 + i % 12) << c.day(c.o.until) << i * 1000;
                 }});
  return all;
}

std::string_view schema(std::string_view file) {
  for (const auto& f : embedded::legacy_schema)
    if (f.path == file) return f.bytes;
  throw std::logic_error("no embedded schema " + std::string(file));
}

Task<Result<bool>> prepare_server(pg::Lease& lease) {
  auto made = co_await lease.script(
      "do $$ begin"
      "  if not exists (select from pg_roles where rolname = 'legacy_owner') then create role legacy_owner login; end if;"
      "  if not exists (select from pg_roles where rolname = 'enishi') then create role enishi login replication; end if;"
      "  execute format('grant legacy_owner to %I', current_user);"
      "end $$",
      long_deadline());
  if (!made) co_return tl::make_unexpected(made.error());
  co_return true;
}

/// Whether the database has to be made; a half-made one of an earlier try is dropped.
Task<Result<bool>> new_database(pg::Lease& lease, std::string system) {
  auto there = co_await lease.script(fmt::format("select exists (select from pg_database where datname = '{}')", system), long_deadline());
  if (!there) co_return tl::make_unexpected(there.error());
  if (there->boolean(0, 0)) co_return false;
  for (const auto& sql :
       {fmt::format("drop database if exists {}_making", system),
        fmt::format("create database {}_making owner legacy_owner encoding '{}' lc_collate 'C' lc_ctype 'C' template template0", system,
                    system == "shohin" ? "EUC_JP" : "UTF8"),
        fmt::format("alter database {}_making set timezone = 'Asia/Tokyo'", system)}) {
    auto done = co_await lease.script(sql, long_deadline());
    if (!done) co_return tl::make_unexpected(done.error());
  }
  co_return true;
}

Task<Result<LegacyReport>> fill(pg::Lease& lease, const Company& company, std::string system,
                                std::function<void(std::string_view, double)> progress) {
  LegacyReport report;
  auto ready = co_await lease.script(
      "set statement_timeout = 0; set role legacy_owner; set maintenance_work_mem = '256MB'; set client_encoding = 'UTF8'",
      long_deadline());
  if (!ready) co_return tl::make_unexpected(ready.error());
  auto tables = co_await lease.script(std::string(schema(system + ".sql")), long_deadline());
  if (!tables) co_return tl::make_unexpected(tables.error());
  const auto all = system == "kokyaku" ? customers(company) : system == "uketsuke" ? inquiries(company) : goods(company);
  double total = 1, done = 0;
  for (const auto& t : all) total += static_cast<double>(t.n);
  for (const auto& t : all) {
    std::int64_t i = 0;
    auto next = [&](std::string& chunk) {
      chunk.clear();
      while (i < t.n && chunk.size() < 256 * 1024) t.make(++i, chunk);
      progress(t.name, 0.8 * (done + static_cast<double>(i)) / total);
      return !chunk.empty() || i < t.n;
    };
    auto rows = co_await lease.copy_in(fmt::format("copy {} ({}) from stdin", t.name, t.columns), next, long_deadline());
    if (!rows) co_return tl::make_unexpected(rows.error());
    done += static_cast<double>(t.n);
    if (t.name == "m_kokyaku") report.customers = *rows;
    if (t.name == "t_tel") report.phones = *rows;
    if (t.name == "t_jusho") report.addresses = *rows;
    if (t.name == "t_hankyo") report.inquiries = *rows;
    if (t.name == "t_apo") report.appointments = *rows;
    if (t.name == "t_shohin") report.goods = *rows;
  }
  progress("keys and triggers", 0.85);
  auto after = co_await lease.script(std::string(schema(system + ".after.sql")), long_deadline());
  if (!after) co_return tl::make_unexpected(after.error());
  std::string names;
  for (const auto& t : all) names += (names.empty() ? "" : ", ") + std::string(t.name);
  auto analysed = co_await lease.script("vacuum (analyze) " + names, long_deadline());
  if (!analysed) co_return tl::make_unexpected(analysed.error());
  co_return report;
}

Task<Result<bool>> finish_database(pg::Lease& lease, std::string system) {
  auto done = co_await lease.script(fmt::format("alter database {0}_making rename to {0}", system), long_deadline());
  if (!done) co_return tl::make_unexpected(done.error());
  co_return true;
}

}  // namespace

std::string with_dbname(std::string target, std::string_view database, std::string_view user) {
  if (target.find("://") == std::string::npos) {
    // Of two of the same keyword libpq takes the later one.
    target += fmt::format(" dbname={}", database);
    if (!user.empty()) target += fmt::format(" user={}", user);
    return target;
  }
  target += (target.find('?') == std::string::npos ? "?dbname=" : "&dbname=") + std::string(database);
  if (!user.empty()) target += "&user=" + std::string(user);
  return target;
}

Result<LegacyReport> make_legacy(LegacyOptions options, std::function<void(std::string_view, double)> progress) {
  const auto began = steady_now();
  const auto superuser = options.superuser;
  auto prepared = with_lease<bool>(superuser, [](pg::Lease& lease) { return prepare_server(lease); });
  if (!prepared) return tl::make_unexpected(prepared.error());
  std::unique_ptr<Company> company;
  LegacyReport report;
  for (std::size_t n = 0; n < legacy_systems.size(); ++n) {
    const std::string system(legacy_systems[n]);
    auto wanted = with_lease<bool>(superuser, [&](pg::Lease& lease) { return new_database(lease, system); });
    if (!wanted) return tl::make_unexpected(wanted.error());
    if (!*wanted) continue;
    if (!company) company = std::make_unique<Company>(options);
    static constexpr std::array<double, 4> shares{0, 0.5, 0.95, 1};
    auto filled = with_lease<LegacyReport>(with_dbname(superuser, system + "_making"), [&](pg::Lease& lease) {
      return fill(lease, *company, system,
                  [&, n](std::string_view what, double share) { progress(what, shares[n] + share * (shares[n + 1] - shares[n])); });
    });
    if (!filled) return filled;
    auto finished = with_lease<bool>(superuser, [&](pg::Lease& lease) { return finish_database(lease, system); });
    if (!finished) return tl::make_unexpected(finished.error());
    report.made = true;
    report.customers += filled->customers;
    report.phones += filled->phones;
    report.addresses += filled->addresses;
    report.inquiries += filled->inquiries;
    report.appointments += filled->appointments;
    report.goods += filled->goods;
  }
  report.seconds = std::chrono::duration<double>(steady_now() - began).count();
  return report;
}

}  // namespace enishi::cli::demo
