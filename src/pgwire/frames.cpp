#include "pgwire/frames.hpp"

#include <fmt/format.h>

#include <charconv>

#include "pgwire/reader.hpp"

namespace enishi::pgwire {
namespace {

void append(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift & 0xff));
}

std::optional<std::uint32_t> hex(std::string_view text) {
  std::uint32_t value = 0;
  if (text.empty() || text.size() > 8) return std::nullopt;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (bad != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string lsn_text(Lsn lsn) { return fmt::format("{:X}/{:X}", lsn >> 32, lsn & 0xffffffff); }

std::optional<Lsn> read_lsn(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto high = hex(text.substr(0, slash));
  const auto low = hex(text.substr(slash + 1));
  if (!high || !low) return std::nullopt;
  return Lsn{*high} << 32 | *low;
}

std::string DecodeError::text() const { return fmt::format("offset {}: {}", offset, what); }

Decoded<Frame> read_frame(std::string_view copy_data) {
  Reader in(copy_data);
  const auto type = in.u8("type");
  if (type == 'w') {
    XLogData out{};
    out.start = in.u64("start");
    out.end = in.u64("end");
    out.sent_at = in.i64("time");
    out.data = in.rest();
    if (auto bad = in.finish("XLogData")) return tl::make_unexpected(std::move(*bad));
    return out;
  }
  if (type == 'k') {
    Keepalive out{};
    out.end = in.u64("end");
    out.sent_at = in.i64("time");
    out.reply_wanted = in.u8("reply") != 0;
    if (auto bad = in.finish("Keepalive")) return tl::make_unexpected(std::move(*bad));
    return out;
  }
  in.wrong(fmt::format("a frame of type 0x{:02x} is unknown", type));
  return tl::make_unexpected(*in.finish("frame"));
}

std::string status_update(const StatusUpdate& status) {
  std::string out = "r";
  append(out, status.written);
  append(out, status.flushed);
  append(out, status.applied);
  append(out, static_cast<std::uint64_t>(status.sent_at));
  out.push_back(status.reply_wanted ? '\1' : '\0');
  return out;
}

Decoded<StatusUpdate> read_status_update(std::string_view copy_data) {
  Reader in(copy_data);
  if (const auto type = in.u8("type"); type != 'r') in.wrong(fmt::format("type 0x{:02x} is no status update", type));
  StatusUpdate out{};
  out.written = in.u64("written");
  out.flushed = in.u64("flushed");
  out.applied = in.u64("applied");
  out.sent_at = in.i64("time");
  out.reply_wanted = in.u8("reply") != 0;
  if (auto bad = in.finish("StatusUpdate")) return tl::make_unexpected(std::move(*bad));
  return out;
}

}  // namespace enishi::pgwire
