#include "http/json.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "http/http.hpp"

namespace enishi::http {
namespace {

/// "pointer CODE" of each field error, in the order they were found.
std::vector<std::string> faults(const Failure& bad) {
  std::vector<std::string> out;
  if (bad)
    for (const auto& field : bad->value().fields) out.push_back(field.pointer + " " + field.code);
  return out;
}

using Faults = std::vector<std::string>;

TEST(Decoder, reads_every_kind_of_field) {
  Decoder in(R"({"name":"髙橋","n":7,"x":0.3,"flag":true,"id":"0190163d-8694-739b-aea5-966c26f8ad91","at":"2026-11-22T13:05:06.123+09:00",
                 "day":"2024-02-29","pick":"BUSY","tags":["a","b"],"custom":{"a":0.3},"note":null,
                 "phones":[{"raw":"03-1234-5678"},{"raw":"090"}],"inner":{"k":1}})");
  EXPECT_EQ(in.text("name", {.required = true, .max = 2}), "髙橋");
  EXPECT_EQ(in.integer("n", {.min = 0, .max = 7}), 7);
  EXPECT_EQ(in.number("x"), 0.3);
  EXPECT_EQ(in.boolean("flag"), true);
  EXPECT_EQ(in.uuid("id")->str(), "0190163d-8694-739b-aea5-966c26f8ad91");
  EXPECT_EQ(in.timestamp("at"), "2026-11-22T13:05:06.123+09:00");
  EXPECT_EQ(in.date("day"), "2024-02-29");
  EXPECT_EQ(in.choice("pick", {"BUSY", "NO_ANSWER"}), "BUSY");
  EXPECT_EQ(in.texts("tags", 2), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(in.raw_object("custom"), R"({"a":3E-1})");
  EXPECT_TRUE(in.present("note"));
  EXPECT_TRUE(in.null("note"));
  EXPECT_FALSE(in.text("note"));
  EXPECT_FALSE(in.present("absent"));
  std::vector<std::string> raws;
  EXPECT_TRUE(in.each("phones", 2, [&](Decoder& item) { raws.push_back(item.text("raw", {.required = true}).value_or("")); }));
  EXPECT_EQ(raws, (std::vector<std::string>{"03-1234-5678", "090"}));
  EXPECT_TRUE(in.object("inner", [](Decoder& inside) { EXPECT_EQ(inside.integer("k"), 1); }));
  EXPECT_EQ(faults(in.finish()), Faults{});
}

TEST(Decoder, names_every_wrong_field_at_once_by_its_pointer) {
  Decoder in(R"({"long":"あいう","short":"a","type":1,"bell":"a\u0007b","n":9,"whole":1.5,"at":"2026-11-22T13:05:06","day":"2025-02-29",
                 "pick":"X","id":"nope","flag":"true","tags":["a",2],"a/b~c":1,"phones":[{"raw":1,"what":2},3]})");
  EXPECT_FALSE(in.text("missing", {.required = true}));
  EXPECT_FALSE(in.text("long", {.max = 2}));
  EXPECT_FALSE(in.text("short", {.min = 2}));
  EXPECT_FALSE(in.text("type"));
  EXPECT_FALSE(in.text("bell"));
  EXPECT_FALSE(in.integer("n", {.min = 0, .max = 8}));
  EXPECT_FALSE(in.integer("whole"));
  EXPECT_FALSE(in.timestamp("at"));
  EXPECT_FALSE(in.date("day"));
  EXPECT_FALSE(in.choice("pick", {"A", "B"}));
  EXPECT_FALSE(in.uuid("id"));
  EXPECT_FALSE(in.boolean("flag"));
  EXPECT_FALSE(in.texts("tags", 9));
  in.each("phones", 5, [](Decoder& item) { EXPECT_FALSE(item.text("raw")); });
  const auto bad = in.finish();
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->value().kind, Kind::unprocessable);
  EXPECT_EQ(bad->value().code, "VALIDATION_FAILED");
  EXPECT_EQ(faults(bad),
            (Faults{"/missing REQUIRED", "/long TOO_LONG", "/short TOO_SHORT", "/type TYPE", "/bell CONTROL_CHARACTER", "/n RANGE",
                    "/whole TYPE", "/at FORMAT", "/day FORMAT", "/pick CHOICE", "/id FORMAT", "/flag TYPE", "/tags/1 TYPE",
                    "/phones/0/raw TYPE", "/phones/0/what UNKNOWN_FIELD", "/phones/1 TYPE", "/a~1b~0c UNKNOWN_FIELD"}));
}

TEST(Decoder, null_is_absent_for_optional_fields_and_wrong_for_required_ones) {
  Decoder in(R"({"a":null,"b":null,"c":null,"d":""})");
  EXPECT_FALSE(in.text("a"));
  EXPECT_FALSE(in.text("b", {.required = true}));
  EXPECT_FALSE(in.text("c", {.not_null = true}));
  EXPECT_FALSE(in.text("d", {.required = true}));
  EXPECT_EQ(faults(in.finish()), (Faults{"/b REQUIRED", "/c REQUIRED", "/d REQUIRED"}));
}

TEST(Decoder, refuses_nul_with_its_pointer_beside_the_other_errors) {
  Decoder in(R"({"a":"x\u0000y","list":[{"b":"\u0000"}],"c":1})");
  EXPECT_TRUE(in.text("a"));
  in.each("list", 5, [](Decoder& item) { EXPECT_TRUE(item.text("b")); });
  EXPECT_FALSE(in.text("c"));
  EXPECT_EQ(faults(in.finish()), (Faults{"/a NUL_CHARACTER", "/list/0/b NUL_CHARACTER", "/c TYPE"}));
}

TEST(Decoder, refuses_what_is_no_json_object_with_the_position) {
  const std::string deep = R"({"a":)" + std::string(40, '[') + std::string(40, ']') + "}";
  for (const std::string& body :
       {std::string(), std::string("  \n"), std::string("{"), std::string("[1]"), std::string("{\"a\":1} x"), std::string("{\"a\":01}"),
        std::string("{\"a\":\"\xff\"}"), std::string("{\"a\":\"\xed\xa0\x80\"}"), std::string(R"({"a":"\ud800"})"), std::string("{'a':1}"),
        std::string("{\"a\":1,}"), std::string("{/**/}"), std::string("null"), std::string("{\"a\":NaN}"), std::string("\xef\xbb\xbf{}"),
        deep}) {
    Decoder in(body);
    EXPECT_FALSE(in.text("a", {.required = true}));
    const auto bad = in.finish();
    ASSERT_TRUE(bad) << body;
    EXPECT_EQ(bad->value().kind, Kind::malformed) << body;
    EXPECT_EQ(bad->value().code, "BODY_MALFORMED") << body;
    EXPECT_TRUE(bad->value().fields.empty()) << body;
  }
  Decoder in(R"({"a":x})");
  const auto bad = in.finish();
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->value().extra, R"({"position":5})");
}

TEST(Decoder, refuses_a_name_that_stands_twice_at_any_depth) {
  Decoder in(R"({"a":1,"list":[{"b":{"c":1,"d":2,"c":3}}]})");
  const auto bad = in.finish();
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->value().code, "BODY_MALFORMED");
  EXPECT_EQ(faults(bad), (Faults{"/list/0/b/c DUPLICATE_NAME"}));
}

TEST(Decoder, keeps_numbers_exactly_or_refuses_them) {
  Decoder in(
      R"({"a":9223372036854775807,"b":18446744073709551615,"c":5.0,"d":1e400,"e":12345678901234567890.5,"f":1.1,"g":9007199254740993.0})");
  EXPECT_EQ(in.integer("a"), INT64_MAX);
  EXPECT_FALSE(in.integer("b"));
  EXPECT_EQ(in.integer("c"), 5);
  in.allow("d");
  in.allow("e");
  EXPECT_EQ(in.number("f"), 1.1);
  EXPECT_EQ(in.number("g", {.max = 1e16}), 9007199254740992.0);
  EXPECT_EQ(faults(in.finish()), (Faults{"/d RANGE", "/e RANGE", "/b RANGE"}));
}

TEST(Decoder, takes_line_ends_only_in_texts_of_several_lines) {
  Decoder in(R"({"memo":"a\nb\tc","name":"a\nb","c1":"\u0085"})");
  EXPECT_EQ(in.text("memo", {.multiline = true}), "a\nb\tc");
  EXPECT_FALSE(in.text("name"));
  EXPECT_FALSE(in.text("c1", {.multiline = true}));
  EXPECT_EQ(faults(in.finish()), (Faults{"/name CONTROL_CHARACTER", "/c1 CONTROL_CHARACTER"}));
}

TEST(Decoder, bounds_its_own_answer) {
  std::string body = "{\"\":0";
  for (int i = 0; i < 1000; ++i) body += ",\"" + std::string(200, 'x') + std::to_string(i) + "\":1";
  Decoder in(body + "}");
  const auto bad = in.finish();
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->value().fields.size(), 100U);
  EXPECT_LT(bad->value().fields[1].pointer.size(), 100U);
}

TEST(Decoder, bounds_arrays_and_raw_values) {
  Decoder in(R"({"tags":["a","b","c"],"ids":["x"],"each":[{},{}],"raw":{"a":"12345678901234567890"},"not_object":[1]})");
  EXPECT_FALSE(in.texts("tags", 2));
  EXPECT_FALSE(in.uuids("ids", 2));
  EXPECT_FALSE(in.each("each", 1, [](Decoder&) { ADD_FAILURE(); }));
  EXPECT_FALSE(in.raw_object("raw", {.max = 20}));
  EXPECT_FALSE(in.raw_object("not_object"));
  EXPECT_EQ(faults(in.finish()), (Faults{"/tags TOO_LONG", "/ids/0 FORMAT", "/each TOO_LONG", "/raw TOO_LONG", "/not_object TYPE"}));
}

TEST(QueryDecoder, names_every_wrong_and_unknown_parameter) {
  Request request;
  request.query = {{"limit", "500"},
                   {"q", "田中"},
                   {"stage", "NEW"},
                   {"stage", "LOST"},
                   {"id", "x"},
                   {"flag", "yes"},
                   {"twice", "1"},
                   {"twice", "2"},
                   {"what", ""},
                   {"n", "12x"},
                   {"big", "99999999999999999999"}};
  QueryDecoder in(request);
  EXPECT_FALSE(in.integer("limit", {.min = 1, .max = 200}));
  EXPECT_EQ(in.text("q"), "田中");
  EXPECT_EQ(in.texts("stage", 3), (std::vector<std::string>{"NEW", "LOST"}));
  EXPECT_FALSE(in.uuid("id"));
  EXPECT_FALSE(in.boolean("flag"));
  EXPECT_FALSE(in.text("twice"));
  EXPECT_FALSE(in.integer("n"));
  EXPECT_FALSE(in.integer("big"));
  EXPECT_FALSE(in.timestamp("from", {.required = true}));
  EXPECT_EQ(faults(in.finish()), (Faults{"?limit RANGE", "?id FORMAT", "?flag TYPE", "?twice FORMAT", "?n TYPE", "?big RANGE",
                                         "?from REQUIRED", "?what UNKNOWN_FIELD"}));
}

TEST(Cursor, round_trips_and_refuses_what_it_did_not_make) {
  const std::vector<std::string> keys{"2026-11-22 13:05:06+09", "髙\"\\\n", ""};
  EXPECT_EQ(*decode_cursor(encode_cursor(keys), 3), keys);
  EXPECT_EQ(*decode_cursor(base64url(R"(["a",7])"), 2), (std::vector<std::string>{"a", "7"}));
  for (const std::string& bad : {std::string(), std::string("!"), std::string("AAA"), encode_cursor({"a"}), encode_cursor({"a", "b", "c"}),
                                 base64url("{}"), base64url(R"(["a",null])"), base64url(R"(["a","\u0000"])"), base64url(R"(["a","b")"),
                                 std::string(3000, 'A'), encode_cursor({"a", "b"}) + "=", encode_cursor({"a", "b"}) + "A"}) {
    const auto keys2 = decode_cursor(bad, 2);
    ASSERT_FALSE(keys2) << bad;
    EXPECT_EQ(keys2.error().code, "CURSOR_INVALID");
    EXPECT_EQ(keys2.error().kind, Kind::unprocessable);
  }
}

TEST(Base64url, has_one_spelling_a_value) {
  EXPECT_EQ(base64url("\xff\xee"), "_-4");
  EXPECT_EQ(from_base64url("_-4"), "\xff\xee");
  EXPECT_FALSE(from_base64url("_-5"));
  EXPECT_FALSE(from_base64url("_"));
  EXPECT_FALSE(from_base64url("_-4="));
}

}  // namespace
}  // namespace enishi::http
