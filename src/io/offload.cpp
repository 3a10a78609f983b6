#include "io/offload.hpp"

#include <boost/asio/post.hpp>

namespace enishi {

Offload::Offload(unsigned threads, std::size_t most_waiting) : pool_(threads), most_waiting_(most_waiting) {}

Offload::~Offload() { pool_.join(); }

void Offload::submit(std::function<void()> work) {
  if (waiting_.fetch_add(1) >= most_waiting_) {
    waiting_.fetch_sub(1);
    throw OffloadFull();
  }
  asio::post(pool_, [this, work = std::move(work)] {
    work();
    waiting_.fetch_sub(1);
  });
}

}  // namespace enishi
