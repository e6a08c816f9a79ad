#pragma once

// The operations that are killed at every instruction: how the world is brought to the moment
// before each, and the operation itself, on ring ends made beforehand (as a running process has
// them).

#include <memory>

#include "tests/sweep/drain.hpp"
#include "tests/sweep/succession.hpp"

namespace micro_swarm::sweep {

using Operation = std::function<void()>;

struct Scenario {
  std::string name;
  PartyId actor = no_party;
  std::function<void(const World&)> prepare;
  std::function<Operation(const World&, const Protocol&)> begin;
  /// What others may do between the death and its succession.
  std::function<void(const World&)> meanwhile;
  /// The RELEASE that the operation consumes, if it does.
  std::function<std::uint64_t(const World&)> release_in_hand;
  /// For whom S receives, where it is the heir.
  PartyId receiver = no_party;

  Excuses excuses(const World& world) const {
    return {release_in_hand ? release_in_hand(world) : 0, receiver == no_party ? actor : receiver};
  }
};

inline const Protocol production{};

// ---- whole steps, to get a world where it is wanted ----

/// The owner of region i writes it and gives the one token to `to`.
inline void give(const World& world, RegionIndex i, PartyId to) {
  const PartyId owner = owner_of(i);
  const PartyWords words = world.words_of(owner);
  Hold& hold = world.empty_hold(words);
  production.allocate(hold, words.regions[i], owner, i);
  RingWriter ring = world.writer(owner, to, Lane::data);
  BOOST_REQUIRE(production.pass(ring, hold, Lane::data, to, world.new_message(), {}));
}

/// p receives what `producer` sent and keeps the token; returns its hold.
inline Hold& receive_and_keep(const World& world, PartyId p, PartyId producer) {
  RingReader ring = world.reader(p, producer, Lane::data);
  BOOST_REQUIRE(ring.ready());
  const PartyWords words = world.words_of(p);
  Hold& hold = world.empty_hold(words);
  const SlotBody body = ring.front();
  const MessageInHand in_hand =
      production.receive(ring, *words.in_hand, Lane::data, producer, hold, Token{body.token});
  world.handle(p, body);
  production.keep(in_hand);
  return hold;
}

/// p passes its one hold on.
inline void pass_on(const World& world, PartyId p, Hold& hold, Lane lane, PartyId to) {
  RingWriter ring = world.writer(world.sender_for(p), to, lane);
  BOOST_REQUIRE(production.pass(ring, hold, lane, to, world.new_message(), {}));
}

inline void send_plain(const World& world, PartyId from, PartyId to) {
  BOOST_REQUIRE(world.writer(from, to, Lane::data).try_send(world.new_message()));
}

/// S becomes heir of p, which is dead and not restarted.
inline void give_up(const World& world, PartyId p) {
  const std::vector<RegionIndex> regions = World::regions_of(p);
  succeed(world, production, p, Succession::heir, world.incarnation(p), regions);
}

// ---- operations ----

enum class Act { keep, give_back, pass_to_c, pass_to_b };

/// p (or S in its place) receives the next message from `producer` and does `act` with its token.
inline std::function<Operation(const World&, const Protocol&)> receiving(PartyId p,
                                                                         PartyId producer,
                                                                         Lane lane, Act act) {
  return [=](const World& world, const Protocol& use) -> Operation {
    struct Ends {
      RingReader in;
      RingWriter out;
    };
    const PartyWords words = world.words_of(p);
    const auto ends = std::make_shared<Ends>();
    ends->in = world.reader(p, producer, lane);
    BOOST_REQUIRE(ends->in.ready());
    const Token token{ends->in.front().token};
    const PartyId sender = world.sender_for(p);
    PartyId target = S;
    Word* region = nullptr;
    if (act == Act::pass_to_c) target = C;
    if (act == Act::pass_to_b) target = B;
    if (token && act == Act::give_back) {
      const PartyId owner = token.owner();
      if (owner == p || (sender == S && !world.is_live(owner)))
        region = &world.words_of(owner).regions[token.region()];
      else
        target = World::linked(sender, owner) ? owner : S;
    }
    const Lane out_lane = act == Act::give_back ? Lane::release : Lane::data;
    if (target != sender) ends->out = world.writer(sender, target, out_lane);
    Hold& hold = world.empty_hold(words);
    const SlotBody reply = world.new_message();
    return [=, &world, &use, &hold] {
      const SlotBody body = ends->in.front();
      const MessageInHand in_hand =
          use.receive(ends->in, *words.in_hand, lane, producer, hold, Token{body.token});
      world.handle(p, body);
      if (act == Act::keep || body.token == 0)
        use.keep(in_hand);
      else if (region != nullptr)
        use.release_own(hold, *region, in_hand);
      else
        use.pass(ends->out, hold, out_lane, target, reply, in_hand);
    };
  };
}

/// A RELEASE arrives at the owner, or at S as its heir.
inline std::function<Operation(const World&, const Protocol&)> collecting(PartyId owner,
                                                                          PartyId producer) {
  return [=](const World& world, const Protocol& use) -> Operation {
    const auto ring = std::make_shared<RingReader>(world.reader(owner, producer, Lane::release));
    BOOST_REQUIRE(ring->ready());
    Word* regions = world.words_of(owner).regions;
    return [=, &world, &use] {
      const SlotBody body = ring->front();
      const Token token{body.token};
      world.handle(owner, body);
      use.receive_release(*ring, regions[token.region()], token);
    };
  };
}

inline std::function<std::uint64_t(const World&)> next_release(PartyId owner, PartyId producer) {
  return [=](const World& world) {
    return world.reader(owner, producer, Lane::release).front().inline_data[0];
  };
}

/// p gives back what it holds in its first hold, outside of any message.
inline std::function<Operation(const World&, const Protocol&)> giving_back(PartyId p, Lane lane,
                                                                           PartyId target) {
  return [=](const World& world, const Protocol& use) -> Operation {
    const PartyWords words = world.words_of(p);
    Hold& hold = words.holds[0];
    const Token token{load(hold.token)};
    BOOST_REQUIRE(static_cast<bool>(token));
    if (target == no_party) {
      Word& region = world.words_of(token.owner()).regions[token.region()];
      return [=, &use, &hold, &region] { use.release_own(hold, region, {}); };
    }
    const auto ring = std::make_shared<RingWriter>(world.writer(world.sender_for(p), target, lane));
    const SlotBody body = world.new_message();
    return [=, &use, &hold] { use.pass(*ring, hold, lane, target, body, {}); };
  };
}

inline std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all;
  const auto nothing = [](const World&) {};

  // ---- plain messages ----
  all.push_back({"publish",
                 A,
                 nothing,
                 [](const World& world, const Protocol&) -> Operation {
                   const auto ring = std::make_shared<RingWriter>(world.writer(A, B, Lane::data));
                   const SlotBody body = world.new_message();
                   return [=] { ring->try_send(body); };
                 },
                 {},
                 {}});
  all.push_back({"publish a batch over the end of the ring",
                 A,
                 [](const World& world) {
                   for (unsigned i = 0; i < world_slots - 1; ++i) {
                     send_plain(world, A, B);
                     RingReader ring = world.reader(B, A, Lane::data);
                     world.handle(B, ring.front());
                     ring.advance();
                   }
                 },
                 [](const World& world, const Protocol&) -> Operation {
                   const auto ring = std::make_shared<RingWriter>(world.writer(A, B, Lane::data));
                   const std::array<SlotBody, 3> bodies = {world.new_message(), world.new_message(),
                                                           world.new_message()};
                   return
                       [=] { ring->try_send_batch(3, [&](std::uint32_t i) { return bodies[i]; }); };
                 },
                 {},
                 {}});
  all.push_back({"consume",
                 B,
                 [](const World& world) {
                   send_plain(world, A, B);
                   send_plain(world, A, B);
                 },
                 receiving(B, A, Lane::data, Act::keep),
                 {},
                 {}});
  all.push_back({"consume a batch",
                 B,
                 [](const World& world) {
                   for (int i = 0; i < 3; ++i) send_plain(world, A, B);
                 },
                 [](const World& world, const Protocol&) -> Operation {
                   const auto ring = std::make_shared<RingReader>(world.reader(B, A, Lane::data));
                   return [=, &world] {
                     ring->consume_batch(3, [&](const SlotBody& body) { world.handle(B, body); });
                   };
                 },
                 {},
                 {}});

  // ---- the owner gives ----
  all.push_back({"give",
                 A,
                 nothing,
                 [](const World& world, const Protocol& use) -> Operation {
                   const auto ring = std::make_shared<RingWriter>(world.writer(A, B, Lane::data));
                   const PartyWords words = world.words_of(A);
                   const SlotBody body = world.new_message();
                   return [=, &use] {
                     use.allocate(words.holds[0], words.regions[0], A, 0);
                     use.pass(*ring, words.holds[0], Lane::data, B, body, {});
                   };
                 },
                 {},
                 {}});
  all.push_back({"give to two",
                 A,
                 [](const World& world) {  // not the first generation of the region
                   const PartyWords words = world.words_of(A);
                   production.allocate(words.holds[0], words.regions[1], A, 1);
                   production.release_own(words.holds[0], words.regions[1], {});
                 },
                 [](const World& world, const Protocol& use) -> Operation {
                   struct Ends {
                     RingWriter to_b;
                     RingWriter to_s;
                   };
                   const auto ends = std::make_shared<Ends>(
                       Ends{world.writer(A, B, Lane::data), world.writer(A, S, Lane::data)});
                   const PartyWords words = world.words_of(A);
                   const SlotBody first = world.new_message();
                   const SlotBody second = world.new_message();
                   return [=, &use] {
                     use.allocate(words.holds[0], words.regions[1], A, 1);
                     use.mint(words.holds[1], words.regions[1], A, 1);
                     use.pass(ends->to_b, words.holds[1], Lane::data, B, first, {});
                     use.pass(ends->to_s, words.holds[0], Lane::data, S, second, {});
                   };
                 },
                 {},
                 {}});
  all.push_back({"allocate and release",
                 A,
                 nothing,
                 [](const World& world, const Protocol& use) -> Operation {
                   const PartyWords words = world.words_of(A);
                   return [=, &use] {
                     use.allocate(words.holds[0], words.regions[0], A, 0);
                     use.release_own(words.holds[0], words.regions[0], {});
                   };
                 },
                 {},
                 {}});

  // ---- holders ----
  const auto given_to_b = [](const World& world) {
    give(world, 0, B);
    send_plain(world, A, B);  // and one more message behind it
  };
  all.push_back(
      {"receive and keep", B, given_to_b, receiving(B, A, Lane::data, Act::keep), {}, {}});
  all.push_back({"pass on", B, given_to_b, receiving(B, A, Lane::data, Act::pass_to_c), {}, {}});
  all.push_back({"pass on, and it comes back by another ring",
                 B,
                 given_to_b,
                 receiving(B, A, Lane::data, Act::pass_to_c),
                 [](const World& world) {
                   if (world.reader(C, B, Lane::data).ready())
                     pass_on(world, C, receive_and_keep(world, C, B), Lane::data, B);
                 },
                 {}});
  all.push_back({"pass on what was kept",
                 B,
                 [](const World& world) {
                   give(world, 0, B);
                   receive_and_keep(world, B, A);
                   give(world, 1, B);  // another message waits, with another token
                 },
                 giving_back(B, Lane::data, C),
                 {},
                 {}});
  all.push_back(
      {"release home", B, given_to_b, receiving(B, A, Lane::data, Act::give_back), {}, {}});
  all.push_back({"release home what was kept",
                 B,
                 [](const World& world) {
                   give(world, 0, B);
                   receive_and_keep(world, B, A);
                 },
                 giving_back(B, Lane::release, A),
                 {},
                 {}});
  all.push_back({"release by way of S",
                 C,
                 [](const World& world) {
                   give(world, 0, B);
                   pass_on(world, B, receive_and_keep(world, B, A), Lane::data, C);
                 },
                 receiving(C, B, Lane::data, Act::give_back),
                 {},
                 {}});

  // ---- tokens come home ----
  all.push_back({"own release of what came back",
                 A,
                 [](const World& world) {
                   give(world, 0, B);
                   pass_on(world, B, receive_and_keep(world, B, A), Lane::data, A);
                 },
                 receiving(A, B, Lane::data, Act::give_back),
                 {},
                 {}});
  all.push_back({"arriving release",
                 A,
                 [](const World& world) {
                   give(world, 0, B);
                   pass_on(world, B, receive_and_keep(world, B, A), Lane::release, A);
                 },
                 collecting(A, B),
                 {},
                 next_release(A, B)});

  // ---- the supervisor ----
  const auto released_through_s = [](const World& world) {
    for (const RegionIndex i : {RegionIndex{0}, RegionIndex{1}}) {
      give(world, i, B);
      pass_on(world, B, receive_and_keep(world, B, A), Lane::data, C);
      pass_on(world, C, receive_and_keep(world, C, B), Lane::release, S);
    }
  };
  all.push_back({"relay a release",
                 S,
                 released_through_s,
                 receiving(S, C, Lane::release, Act::give_back),
                 {},
                 {}});
  all.push_back({"relay a message",
                 S,
                 [](const World& world) {
                   give(world, 0, S);
                   give(world, 1, S);
                 },
                 receiving(S, A, Lane::data, Act::pass_to_c),
                 {},
                 {}});
  all.push_back({"S keeps a token",
                 S,
                 [](const World& world) {
                   give(world, 0, S);
                   give(world, 1, S);
                 },
                 receiving(S, A, Lane::data, Act::keep),
                 {},
                 {}});
  all.push_back({"S releases a token it kept",
                 S,
                 [](const World& world) {
                   give(world, 0, S);
                   receive_and_keep(world, S, A);
                 },
                 giving_back(S, Lane::release, A),
                 {},
                 {}});

  // ---- the supervisor as heir ----
  all.push_back({"heir collects a release",
                 S,
                 [](const World& world) {
                   give(world, 0, B);
                   pass_on(world, B, receive_and_keep(world, B, A), Lane::release, A);
                   give_up(world, A);
                 },
                 collecting(A, B),
                 {},
                 next_release(A, B),
                 A});
  all.push_back({"heir releases an inherited hold",
                 S,
                 [](const World& world) {
                   give(world, 0, B);
                   receive_and_keep(world, B, A);
                   give_up(world, B);
                 },
                 giving_back(B, Lane::release, A),
                 {},
                 {}});
  all.push_back({"heir receives for the dead",
                 S,
                 [](const World& world) {
                   give(world, 0, B);
                   give(world, 1, B);
                   give_up(world, B);
                 },
                 receiving(B, A, Lane::data, Act::give_back),
                 {},
                 {},
                 B});
  all.push_back({"heir of both ends releases what was inherited",
                 S,
                 [](const World& world) {
                   give(world, 0, B);
                   receive_and_keep(world, B, A);
                   give_up(world, B);
                   give_up(world, A);
                 },
                 giving_back(B, Lane::release, no_party),
                 {},
                 {}});
  all.push_back({"heir of both ends receives",
                 S,
                 [](const World& world) {
                   give(world, 0, B);
                   give(world, 1, B);
                   give_up(world, B);
                   give_up(world, A);
                 },
                 receiving(B, A, Lane::data, Act::give_back),
                 {},
                 {},
                 B});
  all.push_back({"S releases a token whose owner gave up",
                 S,
                 [](const World& world) {
                   give(world, 0, S);
                   give(world, 1, S);
                   give_up(world, A);
                 },
                 receiving(S, A, Lane::data, Act::give_back),
                 {},
                 {}});
  return all;
}

inline Scenario scenario(const std::string& name) {
  for (Scenario& one : all_scenarios())
    if (one.name == name) return one;
  BOOST_FAIL("no scenario is called '" + name + "'");
  return {};
}

}  // namespace micro_swarm::sweep
