#include "supervisor/deliveries.hpp"

#include <algorithm>

namespace micro_swarm {

namespace {
/// Of a receiver's ring, what stays free for dispatches or results.
std::uint32_t kept_free(PartyId receiver) { return ring_slots(supervisor_party, receiver) / 2; }

constexpr std::uint8_t stored(TransferRefusal refusal) {
  return static_cast<std::uint8_t>(refusal);
}
}  // namespace

Hold& Deliveries::hold(std::uint32_t row) const {
  return c_.segment.holds()[first_delivery_hold(c_.segment.header().task_capacity) + row];
}

bool Deliveries::is_there(PartyId party) const {
  if (party >= parties_max || party == supervisor_party) return false;
  const std::uint32_t phase = c_.row(party).phase;
  if (phase == micro_swarm::stored(PartyPhase::none) ||
      phase == micro_swarm::stored(PartyPhase::gave_up))
    return false;
  // A client's life has no successor; an agent's that starts for the first time will read.
  return is_agent(party) || (c_.peers[party].linked && !c_.peers[party].dead);
}

bool Deliveries::subscribes(PartyId party, const TopicName& topic) const {
  return subscribers_of(c_.tables().topics, topic).has(party);
}

std::optional<std::uint32_t> Deliveries::free_row() {
  for (std::uint32_t i = 0; i < delivery_rows; ++i) {
    const std::uint32_t row = (next_row_ + i) % delivery_rows;
    if (load(hold(row).token) != 0) continue;
    next_row_ = (row + 1) % delivery_rows;
    return row;
  }
  return std::nullopt;
}

std::size_t Deliveries::waiting_for(PartyId party) const {
  for (const Waiting& queue : queues_)
    if (queue.to == party) return queue.rows.size();
  return 0;
}

bool Deliveries::taken(Peer& sender, const SlotBody& body, MessageInHand in_hand) {
  const Token token{body.token};
  if (!token || !banks_.outstanding(token) || body.region_bytes > banks_.region_bytes(token)) {
    c_.count(Counter::messages_malformed);
    if (token) return tokens_.return_to_sender(token, in_hand);
    in_hand.ring->advance();
    return true;
  }
  const TransferWord word{body.inline_data[0]};
  const TopicName topic{{body.inline_data[2], body.inline_data[3], body.inline_data[4]}};
  PartyId to = word.party();
  TransferRefusal refusal = word.refusal();
  bool is_lost = false;
  if (topic) {
    is_lost = !is_there(to) || waiting_for(to) >= waits_max || !subscribes(to, topic);
    refusal = TransferRefusal::none;
    c_.count(Counter::publications);
  } else if (!is_there(to) || waiting_for(to) >= waits_max) {
    // What comes back already and is not taken by its sender goes home.
    is_lost = refusal != TransferRefusal::none || waiting_for(sender.id) >= waits_max;
    refusal = is_there(to) ? TransferRefusal::full : TransferRefusal::gone;
    to = sender.id;
  }
  const auto row = is_lost ? std::nullopt : free_row();
  if (!row) {
    if (!tokens_.return_to_sender(token, in_hand)) return false;
    c_.count(topic ? Counter::publications_dropped : Counter::transfers_dropped);
    return true;
  }
  DeliveryRow& delivery = row_of(*row);
  delivery.tag = body.inline_data[1];
  delivery.size_bytes = body.region_bytes;
  delivery.order = ++order_;
  delivery.topic = topic;
  const PartyId from =
      refusal != TransferRefusal::none && to == sender.id ? word.party() : sender.id;
  store(delivery.way, DeliveryWay::make(from, to, stored(refusal)).word);
  take_token(hold(*row), token);  // the row counts
  keep(in_hand);                  // and the message is handled
  c_.count(Counter::transfers);
  if (refusal != TransferRefusal::none) c_.count(Counter::transfers_refused);
  // Nobody overtakes those who wait.
  if (waiting_for(to) != 0 || !deliver(*row)) enqueue(*row);
  return true;
}

void Deliveries::enqueue(std::uint32_t row) {
  const PartyId to = way_of(row).to();
  auto found = std::find_if(queues_.begin(), queues_.end(),
                            [to](const Waiting& queue) { return queue.to == to; });
  if (found == queues_.end()) found = queues_.insert(found, Waiting{to, {}});
  found->rows.push_back(row);
  ++waiting_;
  last_waiting_ns_ = now_ns();
}

bool Deliveries::deliver(std::uint32_t row) {
  const DeliveryRow& delivery = row_of(row);
  const DeliveryWay way = way_of(row);
  Hold& from = hold(row);
  const Token token{load(from.token)};
  Peer& receiver = c_.peers[way.to()];
  if (!receiver.linked || receiver.dead) return false;
  if (!receiver.data_out.has_space(1 + kept_free(receiver.id))) return false;
  if (!banks_.outstanding(token) || (delivery.topic && !subscribes(way.to(), delivery.topic)) ||
      !banks_.show_to(receiver, bank_of(token.region()))) {
    drop(row);
    return true;
  }
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::transfer);
  body.region_bytes = static_cast<std::uint32_t>(delivery.size_bytes);
  body.inline_data[0] =
      TransferWord::make(way.from(), static_cast<TransferRefusal>(way.refusal())).word;
  body.inline_data[1] = delivery.tag;
  std::copy_n(delivery.topic.words, std::size(delivery.topic.words), body.inline_data + 2);
  pass(receiver.data_out, from, Lane::data, receiver.id, body);
  c_.ring(receiver);
  return true;
}

void Deliveries::drop(std::uint32_t row) {
  tokens_.release(hold(row));  // stays in the hold where there is no room, and is tried again
  c_.count(row_of(row).topic ? Counter::publications_dropped : Counter::transfers_dropped);
}

void Deliveries::send_back(std::uint32_t row) {
  const DeliveryWay way = way_of(row);
  if (row_of(row).topic || static_cast<TransferRefusal>(way.refusal()) != TransferRefusal::none ||
      !is_there(way.from()) || waiting_for(way.from()) >= waits_max)
    return drop(row);
  store(row_of(row).way,
        DeliveryWay::make(way.to(), way.from(), stored(TransferRefusal::gone)).word);
  c_.count(Counter::transfers_refused);
  if (waiting_for(way.from()) != 0 || !deliver(row)) enqueue(row);
}

void Deliveries::retry() {
  std::vector<std::uint32_t> back;
  for (std::size_t i = 0; i < queues_.size();) {
    Waiting& queue = queues_[i];
    if (!is_there(queue.to)) {
      back.insert(back.end(), queue.rows.begin(), queue.rows.end());
      waiting_ -= static_cast<std::uint32_t>(queue.rows.size());
      queue.rows.clear();
    }
    while (!queue.rows.empty() && deliver(queue.rows.front())) {
      queue.rows.pop_front();
      --waiting_;
      last_waiting_ns_ = now_ns();
    }
    if (!queue.rows.empty()) {
      ++i;
      continue;
    }
    queues_.erase(queues_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  for (const std::uint32_t row : back) send_back(row);
}

void Deliveries::adopt() {
  std::vector<std::uint32_t> rows;
  for (std::uint32_t row = 0; row < delivery_rows; ++row)
    if (load(hold(row).token) != 0) rows.push_back(row);
  std::sort(rows.begin(), rows.end(),
            [this](std::uint32_t a, std::uint32_t b) { return row_of(a).order < row_of(b).order; });
  for (const std::uint32_t row : rows) {
    order_ = row_of(row).order;
    enqueue(row);
  }
}

}  // namespace micro_swarm
