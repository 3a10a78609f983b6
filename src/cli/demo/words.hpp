// Media sources and users of the sample company.
#pragma once
#include <array>
#include <string_view>
#include <tuple>

namespace enishi::cli::demo {

struct MediaSource {
  std::string_view code, name;
};

inline constexpr std::array<MediaSource, 8> media_sources{{{"web", "自社サイト"},
                                                           {"search", "検索広告"},
                                                           {"display", "ディスプレイ広告"},
                                                           {"flyer", "折込チラシ"},
                                                           {"tv", "テレビCM"},
                                                           {"magazine", "雑誌広告"},
                                                           {"referral", "紹介"},
                                                           {"repeat", "リピート"}}};

/// login, display name, role: those there is one of.
inline constexpr std::array<std::tuple<std::string_view, std::string_view, std::string_view>, 4> other_users{{
    {"marketing1", "マーケティング1", "marketing"},
    {"compliance1", "コンプライアンス1", "compliance"},
    {"appraiser1", "査定員1", "appraiser"},
    {"manager1", "管理者1", "admin"},
}};

}  // namespace enishi::cli::demo
