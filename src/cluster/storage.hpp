// The disk of the backups, asked in a thread of its own: one that does not answer (NFS whose server is away) holds whoever asks it for as
// long as it likes, and must hold nobody else.
//
//   Storage storage([repository] { return look_at(repository); }, Millis(1000));
//   if (storage.answers() && storage.seen().reachable) …
//   auto noted = storage.run([=] { return repository.note(event); }, Millis(5000));   // BACKUP_SILENT
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace enishi::cluster {

class Storage {
 public:
  struct Seen {
    bool reachable = true;
    std::uint64_t bytes = 0, free = 0;  ///< of the disk; 0 when nobody knows
  };
  using Probe = std::function<Seen()>;
  using Work = std::function<Result<void>()>;

  /// Asks again `every` so often. Neither `probe` nor any work may touch what ends before they do: a thread that the disk holds is left
  /// behind.
  Storage(Probe probe, Millis every);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  /// The newest answer.
  [[nodiscard]] Seen seen() const;
  /// For so long what is under way has been without an answer; 0 between two questions.
  [[nodiscard]] Millis silent() const;
  [[nodiscard]] bool answers() const { return silent() < kPatience; }
  /// Does something on the disk. BACKUP_SILENT when it is not done within `limit`; what was begun by then may still be done later.
  Result<void> run(Work work, Millis limit);

  static constexpr Millis kPatience{10000};
  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace enishi::cluster
