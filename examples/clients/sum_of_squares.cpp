// The sum of the squares of 1 to 100,000: four tasks beside each other, and one that waits for them
// and reads their results where they lie. The answer is left in the swarm's cache: who asks again
// finds it there.
//
//   sum_of_squares SWARM
#include <array>
#include <iostream>
#include <micro_swarm/client.hpp>
#include <numeric>

namespace msc = micro_swarm::client;

namespace {

constexpr std::size_t parts = 4;
constexpr std::int64_t values_in_part = 25'000;
constexpr std::string_view cache_name = "sum of squares to 100000";

int complain(const msc::Error& error) {
  std::cerr << msc::name_of(error.code) << ": " << error.message << '\n';
  return 1;
}

/// What tensor.map takes: a line of parameters, and the values behind it.
std::vector<std::byte> part_of(std::size_t part) {
  constexpr std::string_view parameters = R"({"type":"int64","function":"square"})"
                                          "\n";
  std::vector<std::int64_t> values(values_in_part);
  std::iota(values.begin(), values.end(), static_cast<std::int64_t>(part) * values_in_part + 1);
  const auto head = msc::bytes_of(parameters);
  const auto body = msc::bytes_of(values);
  std::vector<std::byte> payload(head.begin(), head.end());
  payload.insert(payload.end(), body.begin(), body.end());
  return payload;
}

msc::Result<msc::TaskResult> compute(msc::Client& client) {
  std::array<std::vector<std::byte>, parts> payloads;
  std::array<msc::Dependency, parts> all_parts;
  std::vector<msc::Request> requests(parts + 1);
  for (std::size_t i = 0; i < parts; ++i) {
    payloads[i] = part_of(i);
    requests[i].capability = "tensor.map";
    requests[i].payload = payloads[i];
    all_parts[i] = msc::Dependency::batch_entry(i);
  }
  constexpr std::string_view parameters = R"({"type":"int64","function":"sum"})";
  requests[parts].capability = "tensor.reduce";
  requests[parts].payload = msc::bytes_of(parameters);
  requests[parts].depends_on = all_parts;
  requests[parts].priority = msc::Priority::high;
  const auto batch = client.submit_batch(requests);
  if (!batch) return batch.error();
  return client.wait(batch->first_number + parts, 30'000);
}

}  // namespace

int main(int argc, char** argv) {
  auto client = msc::Client::connect(argc > 1 ? argv[1] : "default");
  if (!client) return complain(client.error());

  const auto known = client->cache_get(cache_name);
  if (!known) return complain(known.error());
  if (*known) {
    std::cout.write(reinterpret_cast<const char*>((*known)->bytes().data()),
                    static_cast<std::streamsize>((*known)->bytes().size()));
    std::cout << " (from the cache)\n";
    return 0;
  }
  const auto result = compute(*client);
  if (!result) return complain(result.error());
  if (!result->is_done()) return complain(result->error());
  const auto put = client->cache_put(cache_name, result->bytes(), {.ttl_ms = 60'000});
  if (!put) return complain(put.error());
  std::cout << result->text() << '\n';
}
