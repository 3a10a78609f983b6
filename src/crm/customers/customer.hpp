// A customer as somebody sends one, checked and normalised, before it is stored. The rest of a customer's life is in SQL.
//
//   CustomerDraft draft = read_customer(in);            // every mistake is in the decoder
//   if (auto bad = in.finish()) co_return *bad;
//   co_return co_await create(call, std::move(draft));
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "auth/call.hpp"

namespace enishi::crm::customers {

using auth::Answering;

struct PhoneDraft {
  Uuid id;
  std::string raw, e164, extension, kind;  ///< e164 and extension may be empty
  bool valid_hint = false;
  std::string note;
};

struct AddressDraft {
  Uuid id;
  std::optional<std::string> postal_code;  ///< seven digits
  std::string prefecture, city, town, street, building, note;
};

struct EmailDraft {
  Uuid id;
  std::string email;
};

struct CustomerDraft {
  Uuid id;
  std::string display_name, kana, notes, custom = "{}";
  std::optional<std::string> birth_date;
  std::vector<std::string> flags;
  std::optional<Uuid> owner_id, team_id;
  std::vector<PhoneDraft> phones;
  std::vector<AddressDraft> addresses;
  std::vector<EmailDraft> emails;
};

/// What a PATCH changes. An outer nothing keeps what is there; of a nullable field, an inner nothing empties it.
struct CustomerChange {
  std::optional<std::string> display_name, kana, notes, custom;
  std::optional<std::optional<std::string>> birth_date;
  std::optional<std::vector<std::string>> flags;
  std::optional<std::optional<Uuid>> owner_id, team_id;
};

/// A list's filter: at most one of them.
struct Filter {
  std::optional<std::string> e164, suffix, name, email;  ///< suffix: digits, at least four
  /// What a list in the order of a key starts with: that of the name, or the suffix reversed.
  [[nodiscard]] std::optional<std::string> key() const;
};

Answering create(auth::Call& call, CustomerDraft draft);
Answering update(auth::Call& call, Uuid id, std::int64_t version, CustomerChange change);
Answering hide(auth::Call& call, Uuid id, std::int64_t version);
Answering list(auth::Call& call, Filter filter, auth::Paging at);
Answering get(auth::Call& call, Uuid id);
/// A right of its own, get_record_as_of: 403 without it. 410 ERASED when the content is gone.
Answering get_as_of(auth::Call& call, Uuid id, std::string moment);
Answering timeline(auth::Call& call, Uuid id, auth::Paging at);
Answering pop_screen(auth::Call& call, std::string e164);

Answering add_phones(auth::Call& call, Uuid customer, std::vector<PhoneDraft> phones);
Answering update_phone(auth::Call& call, Uuid id, std::int64_t version, std::optional<PhoneDraft> number, std::optional<std::string> kind,
                       std::optional<std::string> note, std::optional<std::int64_t> position);
Answering hide_phone(auth::Call& call, Uuid id, std::int64_t version);
Answering add_address(auth::Call& call, Uuid customer, AddressDraft address);
struct AddressChange {
  std::optional<std::optional<std::string>> postal_code;
  std::optional<std::string> prefecture, city, town, street, building, note;
  std::optional<std::int64_t> position;
};
Answering update_address(auth::Call& call, Uuid id, std::int64_t version, AddressChange change);
Answering hide_address(auth::Call& call, Uuid id, std::int64_t version);
Answering add_email(auth::Call& call, Uuid customer, EmailDraft email);
Answering update_email(auth::Call& call, Uuid id, std::int64_t version, std::optional<std::string> email,
                       std::optional<std::int64_t> position);
Answering hide_email(auth::Call& call, Uuid id, std::int64_t version);

}  // namespace enishi::crm::customers
