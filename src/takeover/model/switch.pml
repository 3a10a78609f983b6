/* The switch of a domain between a legacy system and Enishi, checked by spin (model.sh): no acknowledged write is lost, no moment has two
 * owners, and nobody waits for ever, whatever crashes or pauses. Names are those of the schema and the code:
 * domain_ownership.state and, at the source, enishi.fence.state; a label step_x is the step X of takeover_move (switch_test.cpp compares them).
 *
 * A write is one bit. An atomic block is one transaction on one of the two databases. A pause is any interleaving, for the fence may lapse at
 * any moment; a crash is a coordinator that begins again at `recover` (at most CRASHES times); two coordinators run at once, so each may be the
 * one that was thought dead. -DBROKEN_… takes one rule away; each of them must be found.
 */
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef MOST_EPOCHS
#define MOST_EPOCHS 6
#endif

mtype:ownership = { LOCAL, LEGACY, SWITCHING, OWNED, REVERTING };
mtype:fence = { OPEN, FENCED, SEALED };

/* Enishi's database. */
mtype:ownership state = LEGACY;
byte epoch = 0;
byte here = 0;     /* writes that Enishi's tables hold */
byte queue = 0;    /* reverse queue, filled in the writing transaction */
byte writers = 0;  /* transactions that hold the gate's shared lock */

/* The source's database. */
mtype:fence fence = OPEN;
byte fence_epoch = 0;
bool lapsed = false;
byte there = 0;           /* writes that the source's tables hold */
byte source_writers = 0;  /* transactions that hold a lock on the tables */
byte past_lapse = 0;      /* of these: let through by the lapse, they hold the fence's row */
byte marker = 0;          /* what was there when the fence rose */

/* What the world was told. */
byte acked = 0;
byte crashes = 0;

inline source_write(id) {
  byte passed;
  do
  :: atomic {  /* the statement has its lock on the table; the trigger looks */
       fence == OPEN -> source_writers++; passed = 0; break
     }
  :: atomic {
       fence == FENCED && lapsed -> source_writers++; past_lapse++; passed = 1; break
     }
  :: atomic {  /* refused for good; a system that owns nothing and may not write either would be stuck here */
       fence == SEALED && (state == OWNED || state == LOCAL) -> goto refused
     }
  od;
  atomic {  /* commit */
    assert(state != OWNED && state != LOCAL);
    there = there | id; acked = acked | id;
    source_writers--;
    past_lapse = past_lapse - passed; passed = 0
  }
}

proctype SourceWriter(byte id) {
  source_write(id);
refused: skip
}

/* A user of Enishi: held while the domain changes hands, written through while legacy owns it. */
proctype Writer(byte id) {
  byte passed;
again:
  do
  :: atomic { (state == OWNED || state == LOCAL) -> writers++; break }
  :: atomic { state == LEGACY && fence == OPEN -> source_writers++; passed = 0; goto through }
  :: atomic { state == LEGACY && fence == FENCED && lapsed -> source_writers++; past_lapse++; passed = 1; goto through }
  od;
  atomic {
    assert(fence == SEALED);
    here = here | id; queue = queue | id; acked = acked | id;
    writers--
  }
  goto done;
through:
  atomic {
    assert(state != OWNED && state != LOCAL);
    there = there | id; acked = acked | id;
    source_writers--;
    past_lapse = past_lapse - passed; passed = 0
  }
done: skip
}

/* Fetches at the source, lands here: two transactions. */
proctype Mirror() {
  byte fetched, fetched_epoch;
end:
  do
  :: atomic { (state == LEGACY || state == SWITCHING) && here != there -> fetched = there; fetched_epoch = epoch }
     atomic {
       if
#ifdef BROKEN_MIRROR_UNCHECKED
       :: here = fetched
#else
       :: (state == LEGACY || state == SWITCHING) && epoch == fetched_epoch && (fetched & here) == here -> here = fetched  /* never over a newer fetch */
       :: else
#endif
       fi;
       fetched = 0; fetched_epoch = 0
     }
  od
}

/* Reads the queue here, writes at the source with its position, forgets it here: three transactions. */
proctype Reverse() {
  byte taken, taken_epoch;
end:
  do
  :: atomic { (state == OWNED || state == REVERTING) && queue != 0 -> taken = queue; taken_epoch = fence_epoch }
     atomic {
       if
#ifdef BROKEN_REVERSE_UNCHECKED
       :: true ->
#else
       :: fence == SEALED && fence_epoch == taken_epoch ->
#endif
          assert(fence == SEALED && (state == OWNED || state == REVERTING || (taken & ~there) == 0));
          there = there | taken
#ifndef BROKEN_REVERSE_UNCHECKED
       :: else -> taken = 0
#endif
       fi
     }
     atomic { queue = queue & ~taken; taken = 0; taken_epoch = 0 }
  od
}

proctype Clock() {
end:
  do
  :: atomic { fence == FENCED && !lapsed -> lapsed = true }
  od
}

/* Each step may be the last one before a crash, or before a pause as long as it likes. */
#define CRASH if :: crashes < CRASHES -> crashes++; goto recover :: true fi

proctype Coordinator() {
  byte mine;  /* the epoch that this coordinator works under */
  mtype:ownership seen;
recover:
  atomic { seen = state; mine = epoch }
#ifdef BROKEN_NO_RECOVERY
  if
  :: crashes > 0 && seen == SWITCHING -> goto done
  :: else
  fi;
#endif
  if
  :: seen == SWITCHING ->
     if
     :: atomic { fence == SEALED && fence_epoch == mine -> goto step_own }
     :: atomic { !(fence == SEALED && fence_epoch == mine) -> goto step_back }
     fi
  :: seen == REVERTING -> goto step_reverse_drain
  :: seen == LEGACY -> goto step_unfence
  :: else -> goto choose
  fi;

choose:
  CRASH;
  atomic { seen = state; mine = epoch };
  if
  :: seen == LEGACY && mine + 2 < MOST_EPOCHS -> goto step_gate
  :: seen == OWNED && mine + 2 < MOST_EPOCHS -> goto step_reverse_gate
  :: seen == OWNED -> goto step_complete
  :: seen == SWITCHING || seen == REVERTING -> goto recover
  :: true -> goto done
  fi;

step_gate:
  atomic {
    if
    :: !(state == LEGACY && epoch == mine) -> goto choose
    :: state == LEGACY && epoch == mine && writers == 0 -> state = SWITCHING; epoch++; mine = epoch
    fi
  }
  CRASH;
step_fence:
  atomic {
    if
#ifdef BROKEN_FENCE_NO_WAIT
    :: fence_epoch < mine ->
#else
    :: fence_epoch < mine && source_writers == 0 ->
#endif
       fence = FENCED; fence_epoch = mine; lapsed = false; marker = there
    :: true -> goto step_back  /* no lock in time */
    fi
  }
  CRASH;
#ifndef BROKEN_OWNED_BEFORE_DRAIN
step_drain:
  if
  :: atomic { (here & marker) == marker -> skip }
  :: goto step_back  /* not in time */
  fi;
  CRASH;
#endif
step_seal:
  atomic {
    if
#ifdef BROKEN_SEAL_AFTER_LAPSE
    :: fence == FENCED && fence_epoch == mine && past_lapse == 0 -> fence = SEALED
    :: !(fence == FENCED && fence_epoch == mine) -> goto step_back
#else
#ifdef BROKEN_LAPSE_WITHOUT_LOCK
    :: fence == FENCED && fence_epoch == mine -> fence = SEALED
    :: !(fence == FENCED && fence_epoch == mine) -> goto step_back
#else
    :: fence == FENCED && fence_epoch == mine && !lapsed && past_lapse == 0 -> fence = SEALED
    :: !(fence == FENCED && fence_epoch == mine && !lapsed) -> goto step_back
#endif
#endif
    fi
  }
  CRASH;
step_own:
  atomic {
    if
#ifdef BROKEN_OWNED_WITHOUT_COMPARING
    :: true ->
#else
    :: state == SWITCHING && epoch == mine ->
#endif
       state = OWNED; epoch++;
       assert((there & ~here) == 0)
#ifndef BROKEN_OWNED_WITHOUT_COMPARING
    :: else
#endif
    fi
  }
  goto choose;

step_back:
#ifdef BROKEN_UNFENCE_FIRST
  atomic { if :: fence_epoch <= mine -> fence = OPEN; fence_epoch = mine :: else fi }
#endif
  atomic {
    if
    :: state == SWITCHING && epoch == mine -> state = LEGACY; epoch++; mine = epoch
    :: else -> goto choose
    fi
  }
  CRASH;
step_unfence:
  atomic {
    if
#ifdef BROKEN_UNFENCE_ANY_EPOCH
    :: true -> fence = OPEN; fence_epoch = mine; lapsed = false
#else
    :: fence_epoch <= mine -> fence = OPEN; fence_epoch = mine; lapsed = false
    :: else
#endif
    fi
  }
  goto choose;

step_reverse_gate:
  atomic {
    if
    :: !(state == OWNED && epoch == mine) -> goto choose
#ifdef BROKEN_GATE_NO_WAIT
    :: state == OWNED && epoch == mine -> state = REVERTING; epoch++; mine = epoch
#else
    :: state == OWNED && epoch == mine && writers == 0 -> state = REVERTING; epoch++; mine = epoch
#endif
    fi
  }
  CRASH;
step_reverse_drain:
#ifndef BROKEN_LEGACY_BEFORE_DRAIN
  if
  :: atomic { queue == 0 -> skip }
  :: atomic { state == REVERTING && epoch == mine && mine + 1 < MOST_EPOCHS -> state = OWNED; epoch++ } goto choose  /* not in time */
  :: atomic { !(state == REVERTING && epoch == mine) -> goto choose }
  fi;
  CRASH;
#endif
step_return:
  atomic {
    if
    :: state == REVERTING && epoch == mine ->
       state = LEGACY; epoch++; mine = epoch;
       assert((here & ~there) == 0)
    :: else -> goto choose
    fi
  }
  CRASH;
  goto step_unfence;

step_complete:
  atomic {
    if
    :: state == OWNED && epoch == mine && queue == 0 -> state = LOCAL; epoch++
    :: state != OWNED || epoch != mine || queue != 0
    fi
  }
  goto done;
done: skip
}

/* The owner has everything that was acknowledged, always. */
proctype Monitor() {
end:
  do
  :: atomic { (state == OWNED || state == LOCAL) && (acked & ~here) != 0 -> assert(false) }
  :: atomic { state == LEGACY && fence == OPEN && (acked & ~there) != 0 -> assert(false) }
  :: atomic { fence_epoch > epoch -> assert(false) }
  od
}

init {
  atomic {
    run SourceWriter(1); run Writer(2);
#ifdef MORE_WRITERS
    run SourceWriter(4); run Writer(8);
#endif
    run Mirror(); run Mirror(); run Reverse(); run Reverse(); run Clock(); run Monitor();
    run Coordinator(); run Coordinator()
  }
}
