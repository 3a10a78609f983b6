// Inquiries (反響): a lead comes in, with its customer, what they want to sell, and the first call, in one transaction.
//
//   NewInquiry lead;                       // what routes.cpp decoded
//   auto answer = co_await create(call, std::move(lead));
//
// Functions answer with the JSON that PostgreSQL made.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "auth/call.hpp"

namespace enishi::crm::inquiries {

using auth::Answering;

/// A customer who is not in the database yet. The arrays are JSON, with ids, E.164 numbers and positions filled in.
struct NewPerson {
  Uuid id;
  std::string person, phones, addresses, emails;
  std::string name_key;
  std::vector<std::string> e164s;
  std::string as_told;  ///< what was said of them beside name and numbers, a line each
};

struct NewInquiry {
  Uuid id;
  std::optional<Uuid> customer_id;
  std::optional<NewPerson> person;  ///< exactly one of the two
  Uuid media_source_id;
  std::string channel;
  bool customer_initiated = true;
  std::optional<std::string> external_ref, received_at, notes, custom;
  std::optional<Uuid> owner_id, team_id;
  std::string items = "[]";
};

/// A form's lead of somebody who is known, by number and name, becomes theirs: a ban that they lift by asking again is their own. A form
/// rewrites nobody's record: what else it said stands in the inquiry's notes.
Task<Result<NewInquiry>> recognised(auth::Call& call, NewInquiry lead);

/// 201 with inquiry, items and FIRST_CALL task; 200 with what is stored when the lead's external_ref has arrived before.
Answering create(auth::Call& call, NewInquiry lead);

struct Filter {
  std::string view = "due";  ///< due, received, customer
  std::int64_t limit = 50;
  pg::Params after = pg::Params(2);  ///< moment and id of the last row seen
  std::optional<std::string> stage;
  std::optional<Uuid> media_source_id, owner_id, team_id, customer_id;
};
/// Each shape of filter is a statement of its own, driven by an index of its own.
Answering list(auth::Call& call, Filter filter);

Answering get(auth::Call& call, Uuid id);
/// `changes`: a JSON object of columns; `team`: the one among them, which must be one of the caller's.
Answering update(auth::Call& call, Uuid id, std::int64_t version, std::optional<Uuid> team, std::string changes);

struct Move {
  std::optional<std::int64_t> version;
  std::string stage;
  std::optional<std::string> reason, next_action, next_action_at;
};
Answering move(auth::Call& call, Uuid id, Move to);

struct NewItem {
  Uuid id, item_category_id;
  std::optional<std::string> description;
  std::optional<std::int64_t> quantity, position;
};
Answering add_item(auth::Call& call, Uuid inquiry, NewItem item);
Answering update_item(auth::Call& call, Uuid item, std::int64_t version, std::string changes);
Answering delete_item(auth::Call& call, Uuid item);

Answering hearing_sheet(auth::Call& call, Uuid inquiry);
/// Merges by field; what came too late is kept beside what stands, and both are in the answer (`conflicts`).
Answering save_hearing_sheet(auth::Call& call, Uuid inquiry, std::int64_t base_version, std::string changes);

/// The id of the media source with that code; 422 without one.
Task<Result<Uuid>> media_source(auth::Call& call, std::string code);

}  // namespace enishi::crm::inquiries
