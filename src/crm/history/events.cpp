#include "crm/history/events.hpp"

#include <charconv>
#include <map>
#include <mutex>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "crm/history/events.sql.hpp"

namespace enishi::crm::history {
namespace {

namespace statements = sql::events;

constexpr std::size_t page = 1000;  // rows of events_after
constexpr Millis poll_every{50};
constexpr Millis heartbeat_every{15000};
constexpr Millis longest_stream{600000};
constexpr std::size_t frames_a_write = 200;

/// Reads the outbox for all listeners of a process (of a gatekeeper, of which a process has one). Lives on the shard of the first listener
/// and ends when there is none.
struct Reader {
  std::mutex mutex;  // guards listeners and ended: they are touched when a stream begins or ends, and once a batch
  std::vector<std::pair<Shard*, std::shared_ptr<Listener>>> listeners;
  bool ended = false;
  Place at;
};

std::mutex readers_mutex;
std::map<const auth::Gatekeeper*, std::weak_ptr<Reader>> readers;

void tell(Reader& reader, const std::shared_ptr<const Batch>& batch) {
  const std::lock_guard lock(reader.mutex);
  for (auto& one : reader.listeners) one.first->post([listener = one.second, batch] { listener->take(*batch); });
}

bool nobody_left(Reader& reader) {
  const std::lock_guard lock(reader.mutex);
  if (!reader.listeners.empty()) return false;
  reader.ended = true;
  return true;
}

Task<> read_on(std::shared_ptr<Reader> reader, pg::Database* db) {
  while (!nobody_left(*reader)) {
    Millis pause = poll_every;
    try {
      auto rows = co_await db->read(statements::events_after, pg::params(std::to_string(reader->at.xid), reader->at.id));
      if (!rows) {
        log_error("the outbox cannot be read", {{"code", rows.error().code}, {"detail", rows.error().detail}});
        pause = Millis(1000);
      } else if (!rows->empty()) {
        auto batch = std::make_shared<const Batch>(read_batch(*rows));
        reader->at = batch->back()->place;
        tell(*reader, batch);
        if (rows->size() == page) pause = Millis(0);
      }
    } catch (const std::exception& e) {
      log_warning("the outbox cannot be read now", {{"error", e.what()}});
      pause = Millis(1000);
    }
    if (pause.count() > 0) co_await sleep(pause);
  }
}

/// Joins the process's reader, or starts one at `newest`; leaves it at the end of the scope.
class Subscription {
 public:
  Subscription(auth::Gatekeeper& gate, Shard& shard, std::shared_ptr<Listener> listener, Place newest) : listener_(std::move(listener)) {
    const std::lock_guard all(readers_mutex);
    auto& known = readers[&gate];
    reader_ = known.lock();
    if (reader_) {
      const std::lock_guard lock(reader_->mutex);
      if (reader_->ended)
        reader_.reset();
      else
        reader_->listeners.emplace_back(&shard, listener_);
    }
    if (reader_) return;
    reader_ = std::make_shared<Reader>();
    reader_->at = newest;
    reader_->listeners.emplace_back(&shard, listener_);
    known = reader_;
    spawn(shard, "events", read_on(reader_, &gate.db(shard)));
  }
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  ~Subscription() {
    const std::lock_guard lock(reader_->mutex);
    std::erase_if(reader_->listeners, [&](const auto& one) { return one.second == listener_; });
  }

 private:
  std::shared_ptr<Listener> listener_;
  std::shared_ptr<Reader> reader_;
};

}  // namespace

std::string Place::str() const { return std::to_string(xid) + "-" + std::to_string(id); }

std::optional<Place> Place::parse(std::string_view text) {
  Place place;
  const auto dash = text.find('-');
  if (dash == std::string_view::npos || dash == 0 || dash + 1 == text.size()) return std::nullopt;
  const char* const end = text.data() + text.size();
  const auto xid = std::from_chars(text.data(), text.data() + dash, place.xid);
  const auto id = std::from_chars(text.data() + dash + 1, end, place.id);
  if (xid.ec != std::errc() || xid.ptr != text.data() + dash || id.ec != std::errc() || id.ptr != end || place.id < 0) return std::nullopt;
  return place;
}

bool Audience::may_see(const Happening& event) const {
  if (scope == auth::Scope::all || (!event.owner && !event.team)) return true;
  if (event.owner == user || event.former_owner == user || event.former_holder == user) return true;
  const auto mine = [this](const std::optional<Uuid>& team) { return team && std::find(teams.begin(), teams.end(), *team) != teams.end(); };
  return scope == auth::Scope::team && (mine(event.team) || mine(event.former_team));
}

void Listener::take(const Batch& batch) {
  if (overflowed || batch.empty()) return;
  for (const auto& event : batch) {
    if (!audience.may_see(*event)) continue;
    if (queue.size() >= most) {
      overflowed = true;
      break;
    }
    queue.push_back(event);
  }
  seen = batch.back()->place;
  wake.notify_all();
}

Batch read_batch(const pg::Rows& rows) {
  Batch batch;
  batch.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Happening event;
    event.place.xid = std::stoull(std::string(rows.text(i, 0)));
    event.place.id = rows.integer(i, 1);
    const auto id = [&](std::size_t column) { return rows.null(i, column) ? std::nullopt : Uuid::parse(rows.text(i, column)); };
    event.team = id(3);
    event.owner = id(4);
    event.former_team = id(6);
    event.former_owner = id(7);
    event.former_holder = id(8);
    event.frame = "id: " + event.place.str() + "\ndata: " + std::string(rows.text(i, 5)) + "\n\n";
    batch.push_back(std::make_shared<const Happening>(std::move(event)));
  }
  return batch;
}

Task<> stream_events(http::Stream& out, auth::Gatekeeper& gate, Shard& shard, Audience audience, Place from, Place newest, bool reset) {
  static auto& open = metrics::gauge("enishi_event_streams", "Streams of events that are open");
  static auto& slow = metrics::counter("enishi_event_streams_slow_total", "Streams that were closed because their reader did not keep up");
  struct Counted {
    Counted() { open.add(1); }
    ~Counted() { open.add(-1); }
  } counted;

  auto listener = std::make_shared<Listener>();
  listener->audience = std::move(audience);
  // Joined before the catching up: what the reader passes from now on waits in the queue.
  const Subscription joined(gate, shard, listener, newest);
  out.on_ending([listener] { listener->wake.notify_all(); });

  std::string text = "retry: 2000\nid: " + from.str() + "\n\n";
  if (reset) text += "event: reset\ndata: {}\n\n";
  bool alive = co_await out.write(std::move(text));

  auto& db = gate.db(shard);
  Place sent = from;
  for (bool more = true; more && alive && !out.ending();) {
    auto rows = co_await db.read(statements::events_after, pg::params(std::to_string(sent.xid), sent.id));
    if (!rows) co_return;
    const auto batch = read_batch(*rows);
    std::string frames;
    for (const auto& event : batch)
      if (listener->audience.may_see(*event)) frames += event->frame;
    if (!batch.empty()) sent = batch.back()->place;
    if (!frames.empty()) alive = co_await out.write(std::move(frames));
    more = batch.size() == page;
  }

  const auto until = Deadline::in(longest_stream);
  while (alive && !out.ending() && !until.passed()) {
    if (listener->overflowed) {
      slow.add();
      log_warning("a stream of events was closed: its reader did not keep up", {});
      co_return;
    }
    if (listener->queue.empty()) {
      const bool woken = co_await listener->wake.wait(Deadline::in(std::min(heartbeat_every, until.left())));
      if (!woken) {
        // The id moves on with what others were told, so that coming back does not read it all again.
        sent = std::max(sent, listener->seen);
        alive = co_await out.write("id: " + sent.str() + "\n: still here\n\n");
      }
      continue;
    }
    std::string frames;
    for (std::size_t n = 0; n < frames_a_write && !listener->queue.empty(); ++n) {
      const auto event = std::move(listener->queue.front());
      listener->queue.pop_front();
      if (event->place <= sent) continue;
      frames += event->frame;
      sent = event->place;
    }
    if (!frames.empty()) alive = co_await out.write(std::move(frames));
  }
}

}  // namespace enishi::crm::history
