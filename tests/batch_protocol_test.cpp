// Batches as they lie in a region: what is written is read, and nothing else is believed.

#include "ipc/batch_protocol.hpp"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <functional>
#include <random>
#include <string>

namespace micro_swarm {
namespace {

constexpr std::uint64_t region_bytes = 65536;

struct Written {
  std::vector<std::byte> bytes = std::vector<std::byte>(sizeof(BatchHeader));
  std::uint32_t count = 0;

  void add(const BatchEntry& entry) {
    append_entry(bytes, entry);
    ++count;
  }
  std::vector<std::uint64_t> words() {
    BatchHeader header;
    header.count = count;
    header.bytes = static_cast<std::uint32_t>(bytes.size());
    std::memcpy(bytes.data(), &header, sizeof header);
    std::vector<std::uint64_t> words((bytes.size() + 7) / 8);
    std::memcpy(words.data(), bytes.data(), bytes.size());
    return words;
  }
};

/// Entry 1 of three has everything.
Written three() {
  Written written;
  BatchEntry entry;
  written.add(entry);
  static const BatchDependency dependencies[] = {{BatchDependency::Kind::number, 7},
                                                 {BatchDependency::Kind::task, 8}};
  static const std::string payload = "inline";
  entry.data.priority = 1;
  entry.data.flags = submit_detached;
  entry.data.timeout_ms = 5;
  entry.data.on_dependency_failure = static_cast<std::uint8_t>(OnDependencyFailure::skip);
  entry.dependencies = dependencies;
  entry.category = "category";
  entry.key = "a key";
  entry.inline_payload = std::as_bytes(std::span(payload.data(), payload.size()));
  written.add(entry);
  BatchEntry large;
  large.data.payload_offset = region_bytes - 16;
  large.data.payload_bytes = 16;
  written.add(large);
  return written;
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  Written written = three();
  const auto words = written.words();
  std::vector<BatchEntry> entries;
  BOOST_REQUIRE(!parse_batch(words, 3, region_bytes, entries));
  BOOST_REQUIRE_EQUAL(entries.size(), 3u);
  const BatchEntry& all = entries[1];
  BOOST_TEST(all.data.timeout_ms == 5u);
  BOOST_TEST(all.data.priority == 1u);
  BOOST_REQUIRE_EQUAL(all.dependencies.size(), 2u);
  BOOST_TEST(all.dependencies[0].value == 7u);
  BOOST_TEST((all.dependencies[1].kind == BatchDependency::Kind::task));
  BOOST_TEST(all.category == "category");
  BOOST_TEST(all.key == "a key");
  BOOST_TEST(all.inline_payload.size() == 6u);
  BOOST_TEST(entries[2].data.payload_bytes == 16u);
}

BOOST_AUTO_TEST_CASE(each_wrong_field_is_refused_and_its_entry_named) {
  const std::size_t entry_at =
      sizeof(BatchHeader) + sizeof(BatchEntryData);  // entry 0 is as small as can be
  struct Case {
    const char* what;
    std::function<void(BatchHeader&, BatchEntryData&, BatchDependency&)> spoil;
    std::uint32_t entry;
  };
  using H = BatchHeader;
  using E = BatchEntryData;
  using D = BatchDependency;
  const Case cases[] = {
      {"magic", [](H& h, E&, D&) { ++h.magic; }, 0},
      {"version", [](H& h, E&, D&) { ++h.version; }, 0},
      {"count", [](H& h, E&, D&) { ++h.count; }, 0},
      {"bytes beyond the copy", [](H& h, E&, D&) { h.bytes = 0xffffffff; }, 0},
      {"bytes less than the header", [](H& h, E&, D&) { h.bytes = 8; }, 0},
      {"bytes that end in an entry", [](H& h, E&, D&) { h.bytes -= 8; }, 2},
      {"entry size too large", [](H&, E& e, D&) { e.entry_bytes += 8; }, 1},
      {"entry size 0", [](H&, E& e, D&) { e.entry_bytes = 0; }, 1},
      {"priority", [](H&, E& e, D&) { e.priority = 4; }, 1},
      {"flags", [](H&, E& e, D&) { e.flags = 4; }, 1},
      {"policy", [](H&, E& e, D&) { e.on_dependency_failure = 3; }, 1},
      {"dependencies", [](H&, E& e, D&) { e.dependency_count = 65; }, 1},
      {"dependencies that take the rest", [](H&, E& e, D&) { e.dependency_count = 1; }, 1},
      {"category", [](H&, E& e, D&) { e.category_bytes = 33; }, 1},
      {"key", [](H&, E& e, D&) { e.key_bytes = 65; }, 1},
      {"inline payload", [](H&, E& e, D&) { e.inline_bytes = 25; }, 1},
      {"both payloads", [](H&, E& e, D&) { e.payload_bytes = 1; }, 1},
      {"offset not aligned", [](H&, E& e, D&) { e.payload_offset = 8; }, 1},
      {"offset outside", [](H&, E& e, D&) { e.payload_offset = region_bytes + 16; }, 1},
      {"offset that wraps", [](H&, E& e, D&) { e.payload_offset = ~std::uint64_t{15}; }, 1},
      {"kind of dependency", [](H&, E&, D& d) { d.kind = static_cast<D::Kind>(2); }, 1},
  };
  for (const Case& one : cases) {
    auto words = three().words();
    auto* bytes = reinterpret_cast<std::byte*>(words.data());
    auto& entry = *reinterpret_cast<E*>(bytes + entry_at);
    one.spoil(*reinterpret_cast<H*>(bytes), entry, *reinterpret_cast<D*>(&entry + 1));
    std::vector<BatchEntry> entries;
    const auto refused = parse_batch(words, 3, region_bytes, entries);
    BOOST_REQUIRE_MESSAGE(refused.has_value(), one.what);
    BOOST_TEST(refused->entry == one.entry, one.what);
    BOOST_TEST((refused->reason == SubmitRefusal::malformed), one.what);
  }
  auto words = three().words();
  std::vector<BatchEntry> entries;
  BOOST_TEST(parse_batch(words, 2, region_bytes, entries).has_value());
  BOOST_TEST(parse_batch({}, 3, region_bytes, entries).has_value());
  // A payload of the last entry that ends one byte behind the region.
  BOOST_TEST(parse_batch(words, 3, region_bytes - 1, entries)->entry == 2u);
}

/// Whatever the bytes say, nothing outside of them is read: shown under the address sanitizer.
BOOST_AUTO_TEST_CASE(random_damage_reads_nothing_outside) {
  std::mt19937_64 random(7);
  const auto sound = three().words();
  std::vector<BatchEntry> entries;
  std::size_t seen = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto words = sound;
    auto* bytes = reinterpret_cast<std::uint8_t*>(words.data());
    for (std::uint64_t changes = 1 + random() % 4; changes != 0; --changes)
      bytes[random() % (words.size() * 8)] = static_cast<std::uint8_t>(random());
    if (parse_batch(words, 3, region_bytes, entries)) continue;
    for (const BatchEntry& entry : entries) {
      for (const BatchDependency& dependency : entry.dependencies) seen += dependency.value & 1;
      for (const char c : entry.category) seen += static_cast<unsigned char>(c);
      for (const char c : entry.key) seen += static_cast<unsigned char>(c);
      for (const std::byte b : entry.inline_payload) seen += static_cast<unsigned>(b);
      BOOST_REQUIRE(entry.data.payload_offset + entry.data.payload_bytes <= region_bytes);
    }
  }
  BOOST_TEST_MESSAGE("read " << seen);
}

BOOST_AUTO_TEST_CASE(a_short_time_is_right_to_one_in_2048) {
  for (std::uint64_t ns = 0; ns < 4096; ++ns) BOOST_REQUIRE_EQUAL(ShortTime::of(ns).ns(), ns);
  std::mt19937_64 random{1};
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t ns = random() >> (22 + random() % 30);
    const std::uint64_t read = ShortTime::of(ns).ns();
    BOOST_REQUIRE_LE(read, ns);
    BOOST_REQUIRE_LE(ns - read, ns / 2048);
  }
  BOOST_TEST(ShortTime::of(~0ull).ns() == 4095ull << 30);
  const AttemptWord word = AttemptWord::completed(9, 3, 1, 1'000, 2'000);
  BOOST_TEST(word.incarnation() == 9);
  BOOST_TEST(word.attempt() == 3);
  BOOST_TEST(word.outcome() == 1);
  BOOST_TEST(word.waited_ns() == 1'000u);
  BOOST_TEST(word.worked_ns() == 2'000u);
}

}  // namespace
}  // namespace micro_swarm
