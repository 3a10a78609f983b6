#include "cli/demo/demo.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <ctime>
#include <map>
#include <vector>

#include "cli/demo/names.hpp"
#include "cli/demo/rows.hpp"
#include "cli/demo/words.hpp"
#include "crm/japanese/names.hpp"
#include "crm/japanese/postal_codes.hpp"

namespace enishi::cli::demo {
namespace {

const Deadline kLong = Deadline::in(Millis(3600 * 1000));

/// What an id or a draw is for: part of every draw, so that no two streams meet.
enum class Of : std::uint64_t {
  customer = 1,
  phone,
  address,
  email,
  inquiry,
  item,
  call,
  task,
  slot,
  appraiser,
  appointment,
  request,
  ban,
  user,
  team,
  area,
  media,
  sheet,
  hours
};

struct Area {
  std::string name;
  std::vector<std::string_view> prefectures;
};

const std::array<Area, 8>& areas() {
  static const std::array<Area, 8> all{{
      {"北海道・東北", {"北海道", "青森県", "岩手県", "宮城県", "秋田県", "山形県", "福島県"}},
      {"北関東", {"茨城県", "栃木県", "群馬県", "埼玉県"}},
      {"東京", {"東京都"}},
      {"南関東", {"千葉県", "神奈川県", "山梨県"}},
      {"中部", {"新潟県", "富山県", "石川県", "福井県", "長野県", "岐阜県", "静岡県", "愛知県", "三重県"}},
      {"近畿", {"滋賀県", "京都府", "大阪府", "兵庫県", "奈良県", "和歌山県"}},
      {"中国・四国", {"鳥取県", "島根県", "岡山県", "広島県", "山口県", "徳島県", "香川県", "愛媛県", "高知県"}},
      {"九州・沖縄", {"福岡県", "佐賀県", "長崎県", "熊本県", "大分県", "宮崎県", "鹿児島県", "沖縄県"}},
  }};
  return all;
}

struct Town {
  std::string postal, prefecture, city, town;
  int area;
};

/// The whole world of one run: everything that several tables must agree on is a function of the index here.
class World {
 public:
  World(DemoOptions options, std::vector<std::string> categories) : o(std::move(options)), category_ids(std::move(categories)) {
    if (o.until == 0) o.until = std::time(nullptr) / 60 * 60;
    inquiries = 2 * o.customers;
    operators = std::clamp<std::int64_t>(o.customers / 500, 6, 300);
    teams = std::clamp<std::int64_t>(operators / 8, 2, 20);
    appraisers_per_area = std::clamp<std::int64_t>(o.customers / 2000, 2, 30);
    japanese_rows();
    place_visits();
  }

  DemoOptions o;
  std::vector<std::string> category_ids;
  std::int64_t inquiries, operators, teams, appraisers_per_area;
  std::vector<Town> towns;
  std::map<std::string, int> area_of_prefix;  ///< first three digits of postal codes

  static constexpr std::int64_t bands_a_day = 4;            ///< 9:00, 11:30, 14:00, 16:30, two hours each
  static constexpr std::int64_t past_days = 30, days = 44;  ///< slots from 30 days ago to 13 days ahead

  [[nodiscard]] Draw draw(Of of, std::int64_t i) const { return {o.seed, static_cast<std::uint64_t>(of), i}; }

  /// UUIDv7 whose time is `at`; the rest is drawn.
  [[nodiscard]] std::string id(Of of, std::int64_t i, std::int64_t at) const {
    auto d = Draw(o.seed ^ 0x1d, static_cast<std::uint64_t>(of), i);
    const auto a = d.next(), b = d.next();
    const auto ms = static_cast<std::uint64_t>(at) * 1000 + a % 1000;
    return fmt::format("{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}", ms >> 16, ms & 0xffff, (a >> 16) & 0xfff, 0x8000 | ((b >> 48) & 0x3fff),
                       b & 0xffffffffffffULL);
  }
  [[nodiscard]] std::int64_t founded() const { return (o.until / kDay - 400) * kDay; }
  [[nodiscard]] std::string user(std::int64_t i) const { return id(Of::user, i, founded()); }
  [[nodiscard]] std::string team(std::int64_t i) const { return id(Of::team, i, founded()); }
  [[nodiscard]] std::string area(std::int64_t i) const { return id(Of::area, i, founded()); }
  [[nodiscard]] std::string media(std::int64_t i) const { return id(Of::media, i, founded()); }
  [[nodiscard]] std::string appraiser(std::int64_t area_index, std::int64_t n) const {
    return id(Of::appraiser, area_index * 1000 + n, founded());
  }
  [[nodiscard]] std::int64_t first_received(std::int64_t customer_index) const {
    auto d = draw(Of::customer, customer_index);
    return o.until - kDay * 30 + d.below(kDay * 20);
  }
  [[nodiscard]] std::string customer(std::int64_t i) const { return id(Of::customer, i, first_received(i)); }
  [[nodiscard]] std::string address(std::int64_t i) const { return id(Of::address, i, first_received(i)); }
  [[nodiscard]] const Town& town_of(std::int64_t customer_index) const { return draw(Of::address, customer_index).pick(towns); }

  // Inquiries: customer c has numbers c and c + customers.
  [[nodiscard]] std::int64_t customer_of(std::int64_t inquiry) const { return (inquiry - 1) % o.customers + 1; }
  [[nodiscard]] std::int64_t received(std::int64_t inquiry) const {
    const auto first = first_received(customer_of(inquiry));
    if (inquiry <= o.customers) return first;
    auto d = draw(Of::inquiry, -inquiry);
    return first + 3600 + d.below(o.until - first - 3600);
  }
  [[nodiscard]] std::string inquiry(std::int64_t i) const { return id(Of::inquiry, i, received(i)); }

  struct Visit {
    std::int64_t inquiry;
    int area;
    std::int64_t appraiser, day, band;
  };
  /// Seconds since 1970 when the visit starts.
  [[nodiscard]] std::int64_t band_start(std::int64_t day, std::int64_t band) const {
    const auto today = (o.until + kJapan) / kDay;
    return (today - past_days + day) * kDay - kJapan + 9 * 3600 + band * 9000;
  }
  [[nodiscard]] std::string slot(int area_index, std::int64_t day, std::int64_t band) const {
    return id(Of::slot, (area_index * days + day) * bands_a_day + band, founded());
  }
  [[nodiscard]] const Visit* visit_of(std::int64_t inquiry_index) const {
    const auto at = visit_index.find(inquiry_index);
    return at == visit_index.end() ? nullptr : &visits[at->second];
  }
  std::vector<Visit> visits;
  std::map<std::int64_t, std::size_t> visit_index;

  enum class Stage { NEW, IN_PROGRESS, NURTURING, APPOINTED, VISITED, CONTRACTED, NO_DEAL, LOST, INVALID };
  [[nodiscard]] Stage stage(std::int64_t i) const {
    if (const auto* v = visit_of(i)) {
      const auto start = band_start(v->day, v->band);
      if (start + 7200 > o.until) return Stage::APPOINTED;
      const auto r = draw(Of::appointment, i).below(100);
      return r < 55 ? Stage::CONTRACTED : r < 90 ? Stage::NO_DEAL : Stage::VISITED;
    }
    auto d = draw(Of::inquiry, i);
    const auto r = d.below(100);
    if (!callable(i) || (received(i) > o.until - kDay && r < 70)) return Stage::NEW;
    return r < 6 ? Stage::NEW : r < 18 ? Stage::IN_PROGRESS : r < 34 ? Stage::NURTURING : r < 90 ? Stage::LOST : Stage::INVALID;
  }
  [[nodiscard]] std::int64_t team_of(std::int64_t i) const { return draw(Of::team, i).below(teams); }
  /// An operator of the inquiry's team.
  [[nodiscard]] std::int64_t owner_of(std::int64_t i) const {
    const auto t = team_of(i);
    const auto in_team = (operators - t + teams - 1) / teams;
    return t + teams * draw(Of::user, i).below(in_team);
  }
  /// Some time during business hours at or after `at`.
  [[nodiscard]] static std::int64_t business(std::int64_t at, Draw& d) {
    const auto local = at + kJapan;
    const auto of_day = local % kDay;
    if (of_day >= 9 * 3600 && of_day < 20 * 3600) return at;
    const auto day = local / kDay + (of_day >= 20 * 3600 ? 1 : 0);
    return day * kDay - kJapan + 9 * 3600 + d.below(2 * 3600);
  }
  /// When a lead of today is called: at once, or in the morning; an hour before the contact hours end at the latest, so that more calls may
  /// follow.
  [[nodiscard]] std::int64_t first_call(std::int64_t i) const {
    const auto local = received(i) + 60 + kJapan;
    const auto of_day = local % kDay, midnight = local - of_day - kJapan;
    if (of_day < 8 * 3600) return midnight + 9 * 3600;
    return of_day < 20 * 3600 ? local - kJapan : midnight + kDay + 9 * 3600;
  }
  static constexpr std::int64_t call_every = 680, most_calls = 5;
  /// Whether there was time to call somebody about this lead; the others are NEW.
  [[nodiscard]] bool callable(std::int64_t i) const { return first_call(i) + call_every * (most_calls + 1) < o.until; }
  [[nodiscard]] int calls_of(std::int64_t i) const {
    auto d = draw(Of::call, -i);
    switch (stage(i)) {
      case Stage::NEW:
        return 0;
      case Stage::INVALID:
        return 1 + static_cast<int>(d.below(2));
      case Stage::LOST:
        return 2 + static_cast<int>(d.below(4));
      default:
        return 1 + static_cast<int>(d.below(4));
    }
  }
  [[nodiscard]] std::string_view category(std::int64_t i, int n) const {
    auto d = draw(Of::item, i * 4 + n);
    return d.pick(category_ids);
  }
  [[nodiscard]] int items_of(std::int64_t i) const { return draw(Of::item, -i).percent(25) ? 2 : 1; }

 private:
  void japanese_rows() {
    std::map<std::string_view, int> area_of;
    for (std::size_t a = 0; a < areas().size(); ++a)
      for (const auto p : areas()[a].prefectures) area_of[p] = static_cast<int>(a);
    std::map<std::string, std::array<int, 8>> votes;
    crm::japanese::for_each_postal_row([&](const crm::japanese::PostalRow& row) {
      const auto at = area_of.find(row.prefecture);
      if (at == area_of.end() || row.town.empty()) return;
      ++votes[std::string(row.postal_code.substr(0, 3))][static_cast<std::size_t>(at->second)];
      towns.push_back(
          {std::string(row.postal_code), std::string(row.prefecture), std::string(row.city), std::string(row.town), at->second});
    });
    if (towns.empty()) throw std::runtime_error("no town was found in the postal data");
    for (const auto& [prefix, of] : votes) area_of_prefix[prefix] = static_cast<int>(std::max_element(of.begin(), of.end()) - of.begin());
    // A town near the border of two areas belongs to the one that its postal prefix says.
    for (auto& t : towns) t.area = area_of_prefix[t.postal.substr(0, 3)];
  }

  /// Gives every fifth inquiry a visit while its area has a free place three days or more after the lead, each place once.
  void place_visits() {
    std::array<std::vector<std::int64_t>, 8> next_free;  // by day: how many places are taken
    for (auto& n : next_free) n.assign(static_cast<std::size_t>(days), 0);
    const auto places = appraisers_per_area * bands_a_day;
    const auto today = (o.until + kJapan) / kDay;
    for (std::int64_t i = 1; i <= inquiries; ++i) {
      if (!draw(Of::slot, -i).percent(18) || !callable(i)) continue;
      const auto a = town_of(customer_of(i)).area;
      auto day = (received(i) + kJapan) / kDay - (today - past_days) + 1 + draw(Of::slot, -i - inquiries).below(6);
      for (int tries = 0; tries < 4 && day < days; ++tries, ++day) {
        auto& taken = next_free[static_cast<std::size_t>(a)][static_cast<std::size_t>(std::max<std::int64_t>(day, 0))];
        if (day < 0 || taken >= places) continue;
        visit_index[i] = visits.size();
        visits.push_back({i, a, taken / bands_a_day, day, taken % bands_a_day});
        ++taken;
        break;
      }
    }
  }
};

std::string_view name_of(World::Stage stage) {
  static constexpr std::array<std::string_view, 9> names{"NEW",        "IN_PROGRESS", "NURTURING", "APPOINTED", "VISITED",
                                                         "CONTRACTED", "NO_DEAL",     "LOST",      "INVALID"};
  return names[static_cast<std::size_t>(stage)];
}

/// A table's rows: `make(i, out)` appends what belongs to index i, for i from 1 to n.
struct Table {
  std::string_view name, columns;
  std::int64_t n;
  std::function<void(std::int64_t i, std::string& out)> make;
};

/// Whether a lost inquiry was lost to a refusal, which bans.
bool refused(const World& w, std::int64_t i) { return w.stage(i) == World::Stage::LOST && w.draw(Of::ban, i).percent(3); }

std::string uuid_array(const std::vector<std::string_view>& ids) { return fmt::format("{{{}}}", fmt::join(ids, ",")); }

std::vector<Table> tables(const World& w) {
  using Stage = World::Stage;
  const auto media_count = static_cast<std::int64_t>(media_sources.size());
  const auto founded = stamp(w.founded());
  std::vector<Table> all;
  all.push_back({"team", "id, name, parent_id, created_at, updated_at", w.teams + 1, [&w, founded](std::int64_t i, std::string& out) {
                   if (i == 1)
                     RowText(out) << w.team(-1) << "インサイドセールス部" << nullptr << founded << founded;
                   else
                     RowText(out) << w.team(i - 2) << fmt::format("第{}チーム", i - 1) << w.team(-1) << founded << founded;
                 }});
  // Operators first, then a supervisor a team, and one of each other role.
  all.push_back({"app_user", "id, login, display_name, team_id, created_at, updated_at", w.operators + w.teams + 4,
                 [&w, founded](std::int64_t i, std::string& out) {
                   const auto u = i - 1;
                   if (u < w.operators)
                     RowText(out) << w.user(u) << fmt::format("operator{}", i) << fmt::format("オペレーター{}", i) << w.team(u % w.teams)
                                  << founded << founded;
                   else if (u < w.operators + w.teams) {
                     const auto t = u - w.operators;
                     RowText(out) << w.user(u) << fmt::format("supervisor{}", t + 1) << fmt::format("スーパーバイザー{}", t + 1)
                                  << w.team(t) << founded << founded;
                   } else {
                     const auto& [login, name, role] = other_users[static_cast<std::size_t>(u - w.operators - w.teams)];
                     RowText(out) << w.user(u) << login << name << w.team(-1) << founded << founded;
                   }
                 }});
  all.push_back({"user_role", "user_id, role", w.operators + w.teams + 4, [&w](std::int64_t i, std::string& out) {
                   const auto u = i - 1;
                   RowText(out) << w.user(u)
                                << (u < w.operators ? std::string_view("operator")
                                    : u < w.operators + w.teams
                                        ? std::string_view("supervisor")
                                        : std::get<2>(other_users[static_cast<std::size_t>(u - w.operators - w.teams)]));
                 }});
  if (!w.o.password_hash.empty())
    all.push_back({"user_credential", "user_id, password_hash", w.operators + w.teams + 4,
                   [&w](std::int64_t i, std::string& out) { RowText(out) << w.user(i - 1) << w.o.password_hash; }});
  all.push_back({"media_source", "id, code, name, dnis, position, created_at, updated_at", media_count,
                 [&w, founded](std::int64_t i, std::string& out) {
                   const auto& m = media_sources[static_cast<std::size_t>(i - 1)];
                   RowText(out) << w.media(i - 1) << m.code << m.name << fmt::format("+8112000{:04}", 1000 + i) << i * 10 << founded
                                << founded;
                 }});
  all.push_back({"service_area", "id, name, team_id, created_at, updated_at", 8, [&w, founded](std::int64_t i, std::string& out) {
                   RowText(out) << w.area(i - 1) << areas()[static_cast<std::size_t>(i - 1)].name << nullptr << founded << founded;
                 }});
  all.push_back({"service_area_postal", "service_area_id, postal_prefix", 1, [&w](std::int64_t, std::string& out) {
                   for (const auto& [prefix, a] : w.area_of_prefix) RowText(out) << w.area(a) << prefix;
                 }});
  all.push_back({"appraiser", "id, user_id, display_name, area_ids, created_at, updated_at", 8 * w.appraisers_per_area,
                 [&w, founded](std::int64_t i, std::string& out) {
                   const auto a = (i - 1) / w.appraisers_per_area, n = (i - 1) % w.appraisers_per_area;
                   RowText row(out);
                   row << w.appraiser(a, n);
                   if (i == 1)
                     row << w.user(w.operators + w.teams + 2);
                   else
                     row << nullptr;
                   row << fmt::format("査定員 {}-{}", areas()[static_cast<std::size_t>(a)].name, n + 1) << fmt::format("{{{}}}", w.area(a))
                       << founded << founded;
                 }});
  all.push_back({"appraiser_hours", "id, appraiser_id, weekday, from_time, to_time, created_at, updated_at", 8 * w.appraisers_per_area * 7,
                 [&w, founded](std::int64_t i, std::string& out) {
                   const auto who = (i - 1) / 7, weekday = (i - 1) % 7;
                   RowText(out) << w.id(Of::hours, i, w.founded()) << w.appraiser(who / w.appraisers_per_area, who % w.appraisers_per_area)
                                << weekday << "08:30" << "19:00" << founded << founded;
                 }});
  all.push_back({"visit_slot", "id, service_area_id, starts_at, ends_at, capacity, created_at, updated_at",
                 8 * World::days * World::bands_a_day, [&w, founded](std::int64_t i, std::string& out) {
                   const auto n = i - 1;
                   const auto a = static_cast<int>(n / (World::days * World::bands_a_day));
                   const auto day = n / World::bands_a_day % World::days, band = n % World::bands_a_day;
                   const auto start = w.band_start(day, band);
                   RowText(out) << w.slot(a, day, band) << w.area(a) << stamp(start) << stamp(start + 7200) << w.appraisers_per_area
                                << founded << founded;
                 }});
  all.push_back({"customer", "id, display_name, kana, name_key, kana_key, birth_date, notes, flags, created_at, updated_at", w.o.customers,
                 [&w](std::int64_t i, std::string& out) {
                   auto d = w.draw(Of::customer, -i);
                   const auto& family = d.pick(surnames);
                   const auto& given = d.pick(given_names);
                   const auto name = fmt::format("{} {}", family.kanji, given.kanji), kana = fmt::format("{} {}", family.kana, given.kana);
                   const auto age = 30 + d.below(20) + d.below(20) + d.below(25);
                   int y, m, day;
                   civil(w.o.until / kDay - age * 365 - d.below(365), y, m, day);
                   std::string flags;
                   if (age >= 75) flags = "ELDERLY";
                   if (d.percent(1)) flags += flags.empty() ? "CAUTION" : ",CAUTION";
                   if (d.percent(1)) flags += flags.empty() ? "HEARING_IMPAIRED" : ",HEARING_IMPAIRED";
                   const auto at = stamp(w.first_received(i));
                   RowText row(out);
                   row << w.customer(i) << name << kana << crm::japanese::loose_key(name) << crm::japanese::loose_key(kana);
                   if (d.percent(70))
                     row << fmt::format("{:04}-{:02}-{:02}", y, m, day);
                   else
                     row << nullptr;
                   row << (d.percent(5) ? d.pick(wishes) : std::string_view()) << fmt::format("{{{}}}", flags) << at << at;
                 }});
  all.push_back({"customer_phone", "id, customer_id, raw, e164, kind, position, created_at, updated_at", w.o.customers,
                 [&w](std::int64_t i, std::string& out) {
                   auto d = w.draw(Of::phone, i);
                   const auto at = stamp(w.first_received(i));
                   const auto e164 = demo_phone(i);
                   RowText(out) << w.id(Of::phone, 3 * i, w.first_received(i)) << w.customer(i)
                                << fmt::format("0{}-{}-{}", e164.substr(3, 2), e164.substr(5, 4), e164.substr(9)) << e164 << "MOBILE" << 0
                                << at << at;
                   if (i % 25 == 0) {  // a family shares a phone
                     const auto shared = demo_phone(i - 1);
                     RowText(out) << w.id(Of::phone, 3 * i + 1, w.first_received(i)) << w.customer(i) << "0" + shared.substr(3) << shared
                                  << "MOBILE" << 1 << at << at;
                   } else if (d.percent(35)) {
                     const auto line = 30000000 + d.below(69999999);
                     RowText(out) << w.id(Of::phone, 3 * i + 1, w.first_received(i)) << w.customer(i)
                                  << fmt::format("03-{:04}-{:04}", line / 10000, line % 10000) << fmt::format("+813{:08}", line) << "FIXED"
                                  << 1 << at << at;
                   }
                 }});
  all.push_back({"customer_address", "id, customer_id, postal_code, prefecture, city, town, street, building, created_at, updated_at",
                 w.o.customers, [&w](std::int64_t i, std::string& out) {
                   auto d = w.draw(Of::address, -i);
                   const auto& t = w.town_of(i);
                   const auto at = stamp(w.first_received(i));
                   RowText(out) << w.address(i) << w.customer(i) << t.postal << t.prefecture << t.city << t.town
                                << fmt::format("{}-{}-{}", 1 + d.below(6), 1 + d.below(30), 1 + d.below(20))
                                << (d.percent(35) ? fmt::format("{}号室", 101 + d.below(9) * 100 + d.below(12)) : std::string()) << at
                                << at;
                 }});
  all.push_back({"customer_email", "id, customer_id, email, created_at, updated_at", w.o.customers, [&w](std::int64_t i, std::string& out) {
                   if (!w.draw(Of::email, i).percent(30)) return;
                   const auto at = stamp(w.first_received(i));
                   RowText(out) << w.id(Of::email, i, w.first_received(i)) << w.customer(i) << fmt::format("customer{}@example.jp", i) << at
                                << at;
                 }});
  all.push_back({"inquiry",
                 "id, customer_id, media_source_id, channel, external_ref, received_at, stage, lost_reason, invalid_reason, next_action, "
                 "next_action_at, notes, owner_id, team_id, created_at, updated_at",
                 w.inquiries, [&w](std::int64_t i, std::string& out) {
                   auto d = w.draw(Of::inquiry, i + 7 * w.inquiries);
                   const auto s = w.stage(i);
                   const auto at = w.received(i);
                   const auto channel = d.below(10);
                   RowText row(out);
                   row << w.inquiry(i) << w.customer(w.customer_of(i)) << w.media(d.below(media_count))
                       << (channel < 4   ? "PHONE"
                           : channel < 9 ? "WEB"
                                         : "OTHER")
                       << fmt::format("L{:08}", i) << stamp(at) << name_of(s);
                   if (s == Stage::LOST)
                     row << d.pick(lost_reasons);
                   else
                     row << nullptr;
                   static constexpr std::array<std::string_view, 4> invalid{"duplicate", "prank", "out_of_area", "excluded_goods"};
                   if (s == Stage::INVALID)
                     row << d.pick(invalid);
                   else
                     row << nullptr;
                   switch (s) {
                     case Stage::NEW:
                       row << "CALL" << stamp(at + 300);
                       break;
                     case Stage::IN_PROGRESS:
                       row << "CALLBACK" << stamp(World::business(w.o.until - 2 * kDay + d.below(5 * kDay), d));
                       break;
                     case Stage::NURTURING:
                       row << "NURTURE_CALL" << stamp(World::business(w.o.until - 2 * kDay + d.below(30 * kDay), d));
                       break;
                     case Stage::APPOINTED:
                       row << "VISIT" << stamp(w.band_start(w.visit_of(i)->day, w.visit_of(i)->band));
                       break;
                     default:
                       row << "NONE" << nullptr;
                   }
                   row << (d.percent(40) ? d.pick(wishes) : std::string_view());
                   if (s == Stage::NEW)
                     row << nullptr;
                   else
                     row << w.user(w.owner_of(i));
                   row << w.team(w.team_of(i)) << stamp(at) << stamp(at);
                 }});
  all.push_back({"inquiry_item", "id, inquiry_id, item_category_id, description, quantity, position, created_at, updated_at", w.inquiries,
                 [&w](std::int64_t i, std::string& out) {
                   const auto at = stamp(w.received(i));
                   for (int n = 0; n < w.items_of(i); ++n) {
                     auto d = w.draw(Of::item, i * 4 + n + 2);
                     RowText row(out);
                     row << w.id(Of::item, i * 4 + n, w.received(i)) << w.inquiry(i) << w.category(i, n) << "";
                     if (d.percent(60))
                       row << 1 + d.below(20);
                     else
                       row << nullptr;
                     row << n << at << at;
                   }
                 }});
  all.push_back(
      {"call_attempt",
       "id, direction, customer_id, inquiry_id, e164, operator_id, team_id, started_at, ended_at, outcome, memo, recording_notice, "
       "created_at, updated_at",
       w.inquiries, [&w](std::int64_t i, std::string& out) {
         const auto n = w.calls_of(i);
         const auto s = w.stage(i);
         const auto c = w.customer_of(i);
         for (int k = 0; k < n; ++k) {
           auto d = w.draw(Of::call, i * 8 + k);
           const auto window = std::max<std::int64_t>(3600, w.o.until - w.received(i) - 3600);
           auto start = World::business(w.received(i) + 120 + window * k / n + d.below(std::max<std::int64_t>(60, window / n / 2)), d);
           if (start > w.o.until - 900) start = w.first_call(i) + k * World::call_every;  // a lead of today
           const bool last = k == n - 1;
           const auto r = d.below(100);
           std::string_view outcome = r < 45 ? "NO_ANSWER" : r < 55 ? "BUSY" : r < 70 ? "VOICEMAIL" : r < 92 ? "CALLBACK" : "THIRD_PARTY";
           if (last) {
             if (s == Stage::APPOINTED || s == Stage::VISITED || s == Stage::CONTRACTED || s == Stage::NO_DEAL) outcome = "APPOINTED";
             if (s == Stage::LOST) outcome = refused(w, i) ? "REFUSED" : r < 50 ? "NO_ANSWER" : "CALLBACK";
             if (s == Stage::INVALID) outcome = r < 60 ? "WRONG_NUMBER" : "OUT_OF_SERVICE";
           }
           const bool talked = outcome == "APPOINTED" || outcome == "CALLBACK" || outcome == "REFUSED" || outcome == "THIRD_PARTY";
           const auto end = start + 20 + (talked ? 60 + d.below(600) : d.below(40));
           RowText(out) << w.id(Of::call, i * 8 + k, start) << (k == 0 && d.percent(30) ? "INBOUND" : "OUTBOUND") << w.customer(c)
                        << w.inquiry(i) << demo_phone(c) << w.user(w.owner_of(i)) << w.team(w.team_of(i)) << stamp(start) << stamp(end)
                        << outcome << (d.percent(60) ? d.pick(memos) : std::string_view()) << (talked ? "t" : "f") << stamp(start)
                        << stamp(end);
         }
       }});
  all.push_back({"solicitation_request",
                 "id, customer_id, inquiry_id, scope, category_ids, operator_id, verbatim, disclosed_at, willingness_confirmed_at, "
                 "requested_at, created_at, updated_at",
                 static_cast<std::int64_t>(w.visits.size()), [&w](std::int64_t v, std::string& out) {
                   const auto i = w.visits[static_cast<std::size_t>(v - 1)].inquiry;
                   std::vector<std::string_view> categories;
                   for (int n = 0; n < w.items_of(i); ++n) categories.push_back(w.category(i, n));
                   const auto at = stamp(w.received(i) + 600);
                   RowText(out) << w.id(Of::request, i, w.received(i)) << w.customer(w.customer_of(i)) << w.inquiry(i) << "PURCHASE"
                                << uuid_array(categories) << w.user(w.owner_of(i)) << w.draw(Of::request, i).pick(wishes) << at << at << at
                                << at << at;
                 }});
  all.push_back({"appointment",
                 "id, customer_id, inquiry_id, slot_id, appraiser_id, address_id, solicitation_request_id, category_ids, state, starts_at, "
                 "ends_at, owner_id, team_id, created_at, updated_at",
                 static_cast<std::int64_t>(w.visits.size()), [&w](std::int64_t n, std::string& out) {
                   const auto& v = w.visits[static_cast<std::size_t>(n - 1)];
                   const auto i = v.inquiry, c = w.customer_of(i);
                   const auto start = w.band_start(v.day, v.band);
                   std::vector<std::string_view> categories;
                   for (int k = 0; k < w.items_of(i); ++k) categories.push_back(w.category(i, k));
                   const auto at = stamp(w.received(i) + 700);
                   const bool soon = start < w.o.until + kDay;
                   RowText(out) << w.id(Of::appointment, i, w.received(i)) << w.customer(c) << w.inquiry(i) << w.slot(v.area, v.day, v.band)
                                << w.appraiser(v.area, v.appraiser) << w.address(c) << w.id(Of::request, i, w.received(i))
                                << uuid_array(categories)
                                << (start + 7200 <= w.o.until ? "COMPLETED"
                                    : soon                    ? "CONFIRMED"
                                                              : "BOOKED")
                                << stamp(start) << stamp(start + 7200) << w.user(w.owner_of(i)) << w.team(w.team_of(i)) << at << at;
                 }});
  all.push_back({"call_task",
                 "id, customer_id, inquiry_id, appointment_id, kind, state, priority, due_at, owner_id, team_id, created_at, updated_at",
                 w.inquiries, [&w](std::int64_t i, std::string& out) {
                   const auto s = w.stage(i);
                   auto d = w.draw(Of::inquiry, i + 7 * w.inquiries);
                   const auto c = w.customer_of(i);
                   std::int64_t due = 0;
                   std::string_view kind;
                   int priority = 0;
                   (void)d.below(10);
                   if (s == Stage::NEW)
                     kind = "FIRST_CALL", priority = 900, due = w.received(i) + 300;
                   else if (s == Stage::IN_PROGRESS)
                     kind = "CALLBACK", priority = 800, due = World::business(w.o.until - 2 * kDay + d.below(5 * kDay), d);
                   else if (s == Stage::NURTURING)
                     kind = "NURTURE", priority = 200, due = World::business(w.o.until - 2 * kDay + d.below(30 * kDay), d);
                   else if (s == Stage::APPOINTED)
                     kind = "PRE_VISIT", priority = 700, due = w.band_start(w.visit_of(i)->day, 0) - kDay + 3600;
                   else
                     return;
                   RowText row(out);
                   row << w.id(Of::task, i, w.received(i)) << w.customer(c) << w.inquiry(i);
                   if (s == Stage::APPOINTED)
                     row << w.id(Of::appointment, i, w.received(i));
                   else
                     row << nullptr;
                   row << kind << (due <= w.o.until || s == Stage::NEW ? "READY" : "SCHEDULED") << priority << stamp(due);
                   if (s == Stage::NEW || d.percent(70))
                     row << nullptr;
                   else
                     row << w.user(w.owner_of(i));
                   row << w.team(w.team_of(i));
                   row << stamp(w.received(i)) << stamp(w.received(i));
                 }});
  all.push_back({"hearing_sheet", "inquiry_id, customer_id, answers, field_versions, created_at, updated_at", w.inquiries,
                 [&w](std::int64_t i, std::string& out) {
                   auto d = w.draw(Of::sheet, i);
                   if (w.calls_of(i) == 0 || !d.percent(20)) return;
                   const auto at = stamp(w.received(i) + 400);
                   RowText(out) << w.inquiry(i) << w.customer(w.customer_of(i))
                                << fmt::format(R"({{"goods": "{}", "reason": "{}"}})", d.pick(wishes), d.pick(memos))
                                << R"({"goods": 1, "reason": 1})" << at << at;
                 }});
  all.push_back({"solicitation_ban", "id, customer_id, reason, source, inquiry_id, banned_at, created_at, updated_at", w.inquiries,
                 [&w](std::int64_t i, std::string& out) {
                   if (!refused(w, i)) return;
                   const auto at = stamp(std::min(w.o.until - 60, w.received(i) + 20 * kDay));
                   RowText(out) << w.id(Of::ban, i, w.received(i)) << w.customer(w.customer_of(i)) << "今後の連絡を断られた" << "REFUSED"
                                << w.inquiry(i) << at << at << at;
                 }});
  return all;
}

/// SQL of the owner that has to stand again when the rows are in: indexes and foreign keys, which cost more row by row than at once.
struct Scaffold {
  std::vector<std::string> down, up, up_of_history;
};

Task<Result<Scaffold>> find_scaffold(pg::Lease& lease, std::string names) {
  Scaffold s;
  auto keys = co_await lease.script(
      "select format('alter table %s drop constraint %I', conrelid::regclass, conname), "
      "format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) "
      "from pg_constraint where contype = 'f' and conparentid = 0 and conrelid = any ('{" +
          names + "}'::regclass[])",
      kLong);
  if (!keys) co_return tl::make_unexpected(keys.error());
  auto indexes = co_await lease.script(
      "select format('drop index %s', i.indexrelid::regclass), replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON '), "
      "i.indrelid = 'history'::regclass from pg_index i "
      "where i.indrelid = any ('{" +
          names + ",history}'::regclass[]) and not exists (select from pg_constraint c where c.conindid = i.indexrelid)",
      kLong);
  if (!indexes) co_return tl::make_unexpected(indexes.error());
  for (const auto* rows : {&*keys, &*indexes})
    for (std::size_t r = 0; r < rows->size(); ++r) s.down.emplace_back(rows->text(r, 0));
  for (std::size_t r = 0; r < indexes->size(); ++r) (indexes->boolean(r, 2) ? s.up_of_history : s.up).emplace_back(indexes->text(r, 1));
  for (std::size_t r = 0; r < keys->size(); ++r) s.up.emplace_back(keys->text(r, 1));
  co_return s;
}

}  // namespace

Task<Result<DemoReport>> make_demo(pg::Lease& lease, DemoOptions options, std::function<void(std::string_view, double)> progress) {
  const auto began = steady_now();
  auto stop = [](const Error& e) { return tl::make_unexpected(e); };
  auto prepared =
      co_await lease.script("set statement_timeout = 0; set maintenance_work_mem = '512MB'; select exists (select from customer)", kLong);
  if (!prepared) co_return stop(prepared.error());
  if (prepared->boolean(0, 0))
    co_return fail(Kind::conflict, "DEMO_NOT_EMPTY", "This database has customers already; sample data goes into an empty one.");
  auto categories = co_await lease.script("select id from item_category where deleted_at is null order by position, id", kLong);
  if (!categories) co_return stop(categories.error());
  std::vector<std::string> ids;
  for (std::size_t r = 0; r < categories->size(); ++r) ids.emplace_back(categories->text(r, 0));
  if (ids.empty()) co_return fail(Kind::conflict, "DEMO_NO_CATEGORIES", "There are no item categories; migrate the schema first.");

  const World world(std::move(options), std::move(ids));
  const auto all = tables(world);
  std::string names;
  for (const auto& t : all) names += (names.empty() ? "" : ",") + std::string(t.name);

  co_await lease.begin(kLong);
  Scaffold scaffold;
  if (world.o.customers >= 20000) {
    auto found = co_await find_scaffold(lease, names);
    if (!found) co_return stop(found.error());
    scaffold = std::move(*found);
  }
  for (const auto& sql : scaffold.down) {
    auto done = co_await lease.script(sql, kLong);
    if (!done) co_return stop(done.error());
  }
  for (const auto& t : all) {
    auto done = co_await lease.script(fmt::format("alter table {} disable trigger user", t.name), kLong);
    if (!done) co_return stop(done.error());
  }

  std::map<std::string_view, std::int64_t> stored;
  double total = 0, share = 0;
  for (const auto& t : all) total += static_cast<double>(t.n);
  total *= 2;  // indexes, keys and history take about as long again
  for (const auto& t : all) {
    std::int64_t i = 0;
    auto next = [&](std::string& chunk) {
      chunk.clear();
      while (i < t.n && chunk.size() < 256 * 1024) t.make(++i, chunk);
      if (i % 64 == 0 || i == t.n) progress(t.name, (share + static_cast<double>(i)) / total);
      return !chunk.empty() || i < t.n;
    };
    auto rows = co_await lease.copy_in(fmt::format("copy {} ({}) from stdin", t.name, t.columns), next, kLong);
    if (!rows) co_return stop(rows.error());
    stored[t.name] = *rows;
    share += static_cast<double>(t.n);
  }

  const double step = (total - share) / static_cast<double>(scaffold.up.size() + all.size() + scaffold.up_of_history.size() + 1);
  const auto put_back = [&](const std::vector<std::string>& statements) -> Task<Result<void>> {
    for (const auto& sql : statements) {
      progress("indexes and keys", (share += step) / total);
      auto done = co_await lease.script(sql, kLong);
      if (!done) co_return tl::make_unexpected(done.error());
    }
    co_return Result<void>{};
  };
  if (auto done = co_await put_back(scaffold.up); !done) co_return stop(done.error());
  auto covered = co_await lease.script(
      "set constraints all immediate;"
      "insert into solicitation_ban_key (ban_id, kind, key) select b.id, k.kind, k.key from solicitation_ban b, "
      "contact_keys(b.customer_id) k;"
      "analyze solicitation_ban_key; analyze customer_phone; analyze customer_address; analyze call_task;"
      "update call_task t set state = 'BLOCKED', blocked_reason = 'RESOLICITATION_BANNED' where t.state in ('SCHEDULED', 'READY') and "
      "t.customer_id in ("
      "  select b.customer_id from solicitation_ban b"
      "  union select p.customer_id from solicitation_ban_key k join customer_phone p on p.e164 = k.key where k.kind = 'phone'"
      "  union select a.customer_id from solicitation_ban_key k join customer_address a on a.address_key = k.key where k.kind = 'address')",
      kLong);
  if (!covered) co_return stop(covered.error());
  for (const auto& t : all) {
    progress("history", (share += step) / total);
    // The tables that have a recording trigger are the ones with a history; the trigger names the key's column.
    auto rows = co_await lease.script(
        fmt::format(
            "with key as (select coalesce(nullif(split_part(encode(g.tgargs, 'escape'), '\\000', 2), ''), 'id') as name from pg_trigger g "
            "               where g.tgrelid = '{0}'::regclass and g.tgname = 'z_record') "
            "insert into history (table_name, row_id, customer_id, op, entity, actor, request_id, content) "
            "select '{0}', (x.j ->> key.name)::uuid, case '{0}' when 'customer' then (x.j ->> 'id')::uuid else (x.j ->> "
            "'customer_id')::uuid end, 'INSERT', null, 'demo', 'demo', x.j from key, (select to_jsonb(t) as j from {0} t offset 0) x",
            t.name),
        kLong);
    if (!rows) co_return stop(rows.error());
    stored["history"] += rows->affected();
    auto enabled = co_await lease.script(fmt::format("alter table {} enable trigger user", t.name), kLong);
    if (!enabled) co_return stop(enabled.error());
  }
  if (auto done = co_await put_back(scaffold.up_of_history); !done) co_return stop(done.error());
  co_await lease.commit(kLong);
  progress("statistics", 0.99);
  // What is read by index alone needs vacuuming; history never is.
  for (const auto& sql : {"vacuum (analyze) " + names + ",solicitation_ban_key", std::string("analyze history")}) {
    auto done = co_await lease.script(sql, kLong);
    if (!done) co_return stop(done.error());
  }

  DemoReport report;
  report.customers = stored["customer"];
  report.phones = stored["customer_phone"];
  report.inquiries = stored["inquiry"];
  report.calls = stored["call_attempt"];
  report.tasks = stored["call_task"];
  report.appointments = stored["appointment"];
  report.bans = stored["solicitation_ban"];
  report.history = stored["history"];
  report.seconds = std::chrono::duration<double>(steady_now() - began).count();
  co_return report;
}

std::string demo_phone(std::int64_t i) {
  // 070, 080, 090 in turn, then eight digits that do not begin with 0: a permutation of them, so no two customers meet by chance.
  return fmt::format("+81{}{:08}", 70 + 10 * (i % 3), 10000000 + (i * 61803401 + 271828) % 90000000);
}

}  // namespace enishi::cli::demo
