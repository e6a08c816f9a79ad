/* The token protocol with deaths at every store: A owns a region and gives tokens to B; B keeps or
 * gives back; B is not linked with A, so its tokens go home through S. Anybody may be killed, MAX_DEATHS
 * times in all; a dead party is succeeded or given up, chosen freely; S may die too, also while it
 * inherits or settles. One line between ';' is one store (body and via together, and each of
 * inherit's three copies, count as one). docs/protocol.md is the text to this model.
 *
 * Checked: a token comes home once for each time it was given (a second time only where the death
 * fell between bit and cursor); and when nothing can move, every bit is clear, every hold empty,
 * every ring drained, every gift given: nothing leaked, nothing was lost, nobody waits.
 *
 * Compile with -D of one PLANT_... to plant a mistake, which must be found.
 */
#ifndef MAX_DEATHS
#define MAX_DEATHS 1
#endif
#ifndef GIFTS
#define GIFTS 2
#endif

#define A 0
#define B 1
#define S 2
#define LIVES 3
#define PLACES 11 /* lives of A, B, S; then the heir areas for A and B */
#define LIFE(p, l) ((p) * LIVES + (l))
#define HEIR(p) (9 + (p))
#define PLACE(p) (heired[p] -> HEIR(p) : LIFE(p, roster[p]))

/* rings: 0 = A>B, 1 = B>S, 2 = S>A; two slots each, by producer's life */
#define SLOT(r, l, n) (((r) * LIVES + (l)) * 2 + (((n) + 1) % 2))
#define TAIL(r, l)                                                       \
  (slot_seq[SLOT(r, l, 1)] > slot_seq[SLOT(r, l, 2)] -> slot_seq[SLOT(r, l, 1)] \
                                                     : slot_seq[SLOT(r, l, 2)])
#define CONSUMED(place, l) (cursor_inc[place] == (l) -> cursor_seq[place] : 0)
#define SPACE(r, l, to) (TAIL(r, l) - CONSUMED(to, l) < 2)
#define READY(r, place) \
  (slot_seq[SLOT(r, cursor_inc[place], cursor_seq[place] + 1)] == cursor_seq[place] + 1)
#define FRONT(r, place) slot_token[SLOT(r, cursor_inc[place], cursor_seq[place] + 1)]

#define H(place, k) ((place) * 2 + (k))
#define EMPTY(place) (hold_token[H(place, 0)] == 0 || hold_token[H(place, 1)] == 0)
#define PICK(place, k) k = (hold_token[H(place, 0)] == 0 -> 0 : 1)
#define BIT(token) (1 << ((token) & 1))
#define NAMES(place, token) \
  (generation[place] == ((token) >> 1) && (bits[place] & BIT(token)) != 0)

byte slot_seq[18], slot_token[18];
byte hold_token[22], hold_via[22];
byte cursor_inc[PLACES], cursor_seq[PLACES];
bool hand_valid[PLACES];
byte hand_inc[PLACES], hand_seq[PLACES];
byte bits[PLACES], generation[PLACES];
byte roster[3];
bool heired[3];

bool killed[3]; /* the running process of this party is to stop */
bool dead[3];   /* reaped, no successor yet */
bool give_up[3];
byte deaths;
byte gifts; /* tokens given: survives A's deaths, the application's memory */
byte arriving; /* ghost: a token whose bit is cleared and whose cursor has not moved */

/* token = generation * 2 + number + 2, so that 0 is none: generation counts from 1 */
inline came_home(place, token) {
  assert(NAMES(place, token) || arriving == token);
  bits[place] = (NAMES(place, token) -> bits[place] & ~BIT(token) : bits[place])
}

inline pass(r, l, place, k, in_hand) {
  n = TAIL(r, l) + 1;
#ifdef PLANT_PUBLISH_BEFORE_VIA
  d_step { slot_token[SLOT(r, l, n)] = hold_token[H(place, k)]; slot_seq[SLOT(r, l, n)] = n };
  hold_via[H(place, k)] = n;
#else
  d_step { slot_token[SLOT(r, l, n)] = hold_token[H(place, k)]; hold_via[H(place, k)] = n };
  slot_seq[SLOT(r, l, n)] = n;
#endif
#ifdef PLANT_HOLD_BEFORE_CURSOR
  hold_token[H(place, k)] = 0;
  if :: in_hand -> cursor_seq[place]++ :: else fi
#else
  if :: in_hand -> cursor_seq[place]++ :: else fi;
  hold_token[H(place, k)] = 0
#endif
}

inline receive(r, place, k) {
#ifdef PLANT_CURSOR_BEFORE_HOLD
  t = FRONT(r, place);
  cursor_seq[place]++;
  d_step { hold_via[H(place, k)] = 0; hold_token[H(place, k)] = t }
#else
  d_step { hand_inc[place] = cursor_inc[place]; hand_seq[place] = cursor_seq[place];
           hand_valid[place] = true };
  hold_via[H(place, k)] = 0;
  hold_token[H(place, k)] = FRONT(r, place)
#endif
}

/* The owner's release, or the heir's: region words at `home`. */
inline release_own(place, home, k, in_hand) {
  came_home(home, hold_token[H(place, k)]);
  if :: in_hand -> cursor_seq[place]++ :: else fi;
  hold_token[H(place, k)] = 0
}

/* The roster first, then the slot once more. */
inline next_life(r, place, producer) {
  life = roster[producer];
  if
  :: life > cursor_inc[place] && !READY(r, place) ->
     d_step { cursor_inc[place] = cursor_inc[place] + 1; cursor_seq[place] = 0 }
  :: else
  fi
}

/* published: on whose ring a place's holds are passed */
inline published(place, k, out) {
  if
  :: hold_via[H(place, k)] == 0 -> out = false
  :: else ->
     if
     :: place < LIFE(B, 0) -> out = slot_seq[SLOT(0, place, hold_via[H(place, k)])] >= hold_via[H(place, k)]
     :: place >= LIFE(B, 0) && place < LIFE(S, 0) ->
        out = slot_seq[SLOT(1, place - LIFE(B, 0), hold_via[H(place, k)])] >= hold_via[H(place, k)]
     :: else -> out = slot_seq[SLOT(2, 0, hold_via[H(place, k)])] >= hold_via[H(place, k)]
     fi
  fi
}

/* the message in hand of a place that receives on ring r brought this hold's token */
#define IN_HAND(r, place)                                                                \
  (hand_valid[place] && hand_inc[place] == cursor_inc[place] &&                          \
   hand_seq[place] == cursor_seq[place])
#define MINE(r, place, k) (IN_HAND(r, place) && FRONT(r, place) == hold_token[H(place, k)])

/* d: dead, f: fresh. p is A (receives releases: nothing in hand) or B (receives on ring 0). */
inline inherit(p, d, f) {
  d_step {
    skip_one = false;
    hold_token[H(f, 0)] = 0; hold_token[H(f, 1)] = 0;
    for (k : 0 .. 1) {
      if
      :: hold_token[H(d, k)] != 0 ->
         published(d, k, left);
         mine = (p == B && MINE(0, d, k));
         if
         :: left || (p == A && !NAMES(d, hold_token[H(d, k)])) -> if :: mine -> skip_one = true :: else fi
         :: else -> if :: !mine -> hold_via[H(f, k)] = 0; hold_token[H(f, k)] = hold_token[H(d, k)] :: else fi
         fi
      :: else
      fi
    }
  };
  d_step { cursor_inc[f] = cursor_inc[d]; cursor_seq[f] = cursor_seq[d] + (skip_one -> 1 : 0) };
#ifndef PLANT_NO_REGION_WORDS
  d_step { bits[f] = bits[d]; generation[f] = generation[d] };
#endif
}

inline settle(r, place) {
  for (k : 0 .. 1) {
    if
    :: hold_token[H(place, k)] != 0 ->
       d_step {
         published(place, k, left);
         left = left || (heired[A] && !NAMES(HEIR(A), hold_token[H(place, k)]));
         mine = MINE(r, place, k)
       };
       if
       :: left -> if :: mine -> cursor_seq[place]++ :: else fi; hold_token[H(place, k)] = 0
       :: !left && mine -> hold_token[H(place, k)] = 0
       :: else -> hold_via[H(place, k)] = 0
       fi
    :: else
    fi
  }
}

proctype owner(byte l) {
  byte n, k, t, life;
  bool skip_one, left, mine;
  {
    if
    :: l > 0 -> inherit(A, LIFE(A, l - 1), LIFE(A, l)); roster[A] = l
    :: else
    fi;
    do
    :: /* a gift: the first token of a generation, and a second number beside it or not */
       gifts < GIFTS && bits[LIFE(A, l)] == 0 && hold_token[H(LIFE(A, l), 0)] == 0 &&
       hold_token[H(LIFE(A, l), 1)] == 0 ->
       d_step { hold_via[H(LIFE(A, l), 0)] = 0;
                hold_token[H(LIFE(A, l), 0)] = (generation[LIFE(A, l)] + 1) * 2 };
       d_step { generation[LIFE(A, l)] = generation[LIFE(A, l)] + 1; bits[LIFE(A, l)] = 1; gifts++ };
       if
       :: d_step { hold_via[H(LIFE(A, l), 1)] = 0;
                   hold_token[H(LIFE(A, l), 1)] = generation[LIFE(A, l)] * 2 + 1 };
          bits[LIFE(A, l)] = bits[LIFE(A, l)] | 2
       :: skip
       fi
    :: hold_token[H(LIFE(A, l), 0)] != 0 ->
       if
       :: SPACE(0, l, PLACE(B)) -> pass(0, l, LIFE(A, l), 0, false)
       :: release_own(LIFE(A, l), LIFE(A, l), 0, false)
       fi
    :: hold_token[H(LIFE(A, l), 0)] == 0 && hold_token[H(LIFE(A, l), 1)] != 0 ->
       if
       :: SPACE(0, l, PLACE(B)) -> pass(0, l, LIFE(A, l), 1, false)
       :: release_own(LIFE(A, l), LIFE(A, l), 1, false)
       fi
    :: READY(2, LIFE(A, l)) ->
       t = FRONT(2, LIFE(A, l));
#ifdef PLANT_CURSOR_BEFORE_BIT
       cursor_seq[LIFE(A, l)]++;
       came_home(LIFE(A, l), t);
#else
       d_step { came_home(LIFE(A, l), t); arriving = t };
       d_step { cursor_seq[LIFE(A, l)]++; arriving = 0 }
#endif
    od
  } unless { killed[A] }
  d_step { killed[A] = false; dead[A] = true }
}

proctype holder(byte l) {
  byte n, k, t, life;
#ifdef PLANT_SLOT_BEFORE_ROSTER
  bool looked;
#endif
  bool skip_one, left, mine;
  {
    if
    :: l > 0 -> inherit(B, LIFE(B, l - 1), LIFE(B, l)); roster[B] = l
    :: else
    fi;
    do
    :: READY(0, LIFE(B, l)) && EMPTY(LIFE(B, l)) ->
       PICK(LIFE(B, l), k);
       receive(0, LIFE(B, l), k);
#ifndef PLANT_CURSOR_BEFORE_HOLD
       if
       :: cursor_seq[LIFE(B, l)]++ /* keep */
       :: SPACE(1, l, LIFE(S, 0)); pass(1, l, LIFE(B, l), k, true)
       fi
#endif
    :: hold_token[H(LIFE(B, l), 0)] != 0 && SPACE(1, l, LIFE(S, 0)) -> pass(1, l, LIFE(B, l), 0, false)
    :: hold_token[H(LIFE(B, l), 1)] != 0 && SPACE(1, l, LIFE(S, 0)) -> pass(1, l, LIFE(B, l), 1, false)
#ifdef PLANT_SLOT_BEFORE_ROSTER
    :: !looked && !READY(0, LIFE(B, l)) -> looked = true
    :: looked && roster[A] > cursor_inc[LIFE(B, l)] ->
       d_step { cursor_inc[LIFE(B, l)] = cursor_inc[LIFE(B, l)] + 1; cursor_seq[LIFE(B, l)] = 0 };
       looked = false
#else
    :: !READY(0, LIFE(B, l)) && roster[A] > cursor_inc[LIFE(B, l)] -> next_life(0, LIFE(B, l), A)
#endif
    od
  } unless { killed[B] }
  d_step { killed[B] = false; dead[B] = true }
}

#define SELF LIFE(S, 0)
proctype supervisor(bool again) {
  byte n, k, t, life;
  bool skip_one, left, mine;
  {
#ifndef PLANT_NO_SETTLE
    if
    :: again ->
       settle(1, SELF);
       if :: heired[B] -> settle(0, HEIR(B)) :: else fi;
       if :: heired[A] -> settle(2, HEIR(A)) :: else fi
    :: else
    fi;
#endif
    do
    :: READY(1, SELF) && EMPTY(SELF) && !heired[A] && SPACE(2, 0, PLACE(A)) -> /* relay */
       PICK(SELF, k);
       receive(1, SELF, k);
#ifdef PLANT_CURSOR_BEFORE_HOLD
       pass(2, 0, SELF, k, false)
#else
       pass(2, 0, SELF, k, true)
#endif
    :: READY(1, SELF) && EMPTY(SELF) && heired[A] ->
       PICK(SELF, k);
       receive(1, SELF, k);
       release_own(SELF, HEIR(A), k, true)
    :: hold_token[H(SELF, 0)] != 0 && !heired[A] && SPACE(2, 0, PLACE(A)) -> pass(2, 0, SELF, 0, false)
    :: hold_token[H(SELF, 1)] != 0 && !heired[A] && SPACE(2, 0, PLACE(A)) -> pass(2, 0, SELF, 1, false)
    :: hold_token[H(SELF, 0)] != 0 && heired[A] -> release_own(SELF, HEIR(A), 0, false)
    :: hold_token[H(SELF, 1)] != 0 && heired[A] -> release_own(SELF, HEIR(A), 1, false)
    :: !READY(1, SELF) && roster[B] > cursor_inc[SELF] -> next_life(1, SELF, B)

    :: dead[A] && give_up[A] && !heired[A] ->
       inherit(A, LIFE(A, roster[A]), HEIR(A)); heired[A] = true
    :: dead[B] && give_up[B] && !heired[B] ->
       inherit(B, LIFE(B, roster[B]), HEIR(B)); heired[B] = true

    /* as A's heir */
    :: heired[A] && READY(2, HEIR(A)) ->
       t = FRONT(2, HEIR(A));
       d_step { came_home(HEIR(A), t); arriving = t };
       d_step { cursor_seq[HEIR(A)]++; arriving = 0 }
    :: heired[A] && hold_token[H(HEIR(A), 0)] != 0 -> release_own(HEIR(A), HEIR(A), 0, false)
    :: heired[A] && hold_token[H(HEIR(A), 1)] != 0 -> release_own(HEIR(A), HEIR(A), 1, false)

    /* as B's heir */
    :: heired[B] && READY(0, HEIR(B)) && EMPTY(HEIR(B)) ->
       PICK(HEIR(B), k);
       receive(0, HEIR(B), k);
#ifndef PLANT_CURSOR_BEFORE_HOLD
       cursor_seq[HEIR(B)]++
#endif
    :: heired[B] && !READY(0, HEIR(B)) && roster[A] > cursor_inc[HEIR(B)] -> next_life(0, HEIR(B), A)
    :: heired[B] && hold_token[H(HEIR(B), 0)] != 0 && !heired[A] && SPACE(2, 0, PLACE(A)) ->
       pass(2, 0, HEIR(B), 0, false)
    :: heired[B] && hold_token[H(HEIR(B), 1)] != 0 && !heired[A] && SPACE(2, 0, PLACE(A)) ->
       pass(2, 0, HEIR(B), 1, false)
    :: heired[B] && hold_token[H(HEIR(B), 0)] != 0 && heired[A] -> release_own(HEIR(B), HEIR(A), 0, false)
    :: heired[B] && hold_token[H(HEIR(B), 1)] != 0 && heired[A] -> release_own(HEIR(B), HEIR(A), 1, false)
    od
  } unless { killed[S] }
  d_step { killed[S] = false; dead[S] = true }
}

/* Kills, reaps, restarts: root and chance. Its steps wait for the kill to be seen. */
proctype chance() {
  byte p;
  do
  :: deaths < MAX_DEATHS ->
     if
     :: !dead[A] && !heired[A] -> p = A
     :: !dead[B] && !heired[B] -> p = B
     :: p = S
     fi;
     d_step { deaths++; killed[p] = true };
     dead[p];
     if
     :: p == S -> dead[S] = false; run supervisor(true)
     :: p == A -> if :: give_up[A] = true :: dead[A] = false; run owner(roster[A] + 1) fi
     :: p == B -> if :: give_up[B] = true :: dead[B] = false; run holder(roster[B] + 1) fi
     fi
  :: break
  od
}

init {
  atomic { run owner(0); run holder(0); run supervisor(false); run chance() };
  timeout; /* nothing can move any more */
  d_step {
    assert(bits[PLACE(A)] == 0);
    assert(hold_token[H(PLACE(A), 0)] == 0 && hold_token[H(PLACE(A), 1)] == 0);
    assert(hold_token[H(PLACE(B), 0)] == 0 && hold_token[H(PLACE(B), 1)] == 0);
    assert(hold_token[H(SELF, 0)] == 0 && hold_token[H(SELF, 1)] == 0);
    assert(!READY(0, PLACE(B)) && !READY(1, SELF) && !READY(2, PLACE(A)));
    assert(heired[A] || cursor_inc[PLACE(B)] == roster[A]);
    assert(heired[B] || cursor_inc[SELF] == roster[B]);
    assert(heired[A] || gifts == GIFTS);
    assert(!dead[A] || heired[A]);
    assert(!dead[B] || heired[B])
  }
}
