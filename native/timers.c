/* Deadlines of tunnels: two wheels of 1,024 slots, one of 16 ms ticks and one of 16.4 s.
 *
 * A deadline does not move when bytes move.  The relay only notes the time; when the slot comes up, the deadline is
 * computed again and the tunnel either ends or is put into a later slot.  So a busy tunnel costs its timer nothing, and
 * an idle worker wakes at most every 16 s for all of its tunnels together.
 */
#include "engine.h"

#include <time.h>
#include <sys/timerfd.h>

uint64_t clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void timers_start(struct engine *engine) {
    for (unsigned i = 0; i < WHEEL_SLOTS; i++) {
        link_clear(&engine->near.slot[i]);
        link_clear(&engine->far.slot[i]);
    }
    engine->now = clock_ms();
    engine->tick = engine->now >> TICK_SHIFT;
}

static void wheel_put(struct wheel *wheel, uint64_t slot, struct link *timer) {
    slot &= WHEEL_SLOTS - 1;
    link_before(&wheel->slot[slot], timer);
    wheel->used[slot / 64] |= 1ull << (slot % 64);
}

/* The distance from `slot` to the next used slot of the wheel, WHEEL_SLOTS when it is empty. */
static unsigned wheel_next(const struct wheel *wheel, unsigned slot) {
    unsigned passed = 0;
    while (passed < WHEEL_SLOTS) {
        unsigned at = (slot + passed) & (WHEEL_SLOTS - 1);
        uint64_t rest = wheel->used[at / 64] >> (at % 64);
        if (rest)
            return passed + (unsigned)__builtin_ctzll(rest);
        passed += 64 - at % 64;
    }
    return WHEEL_SLOTS;
}

/* Move all of a slot to `list`, and note that the slot is empty. */
static void wheel_take(struct wheel *wheel, unsigned slot, struct link *list) {
    struct link *head = &wheel->slot[slot];
    link_clear(list);
    wheel->used[slot / 64] &= ~(1ull << (slot % 64));
    if (link_alone(head))
        return;
    list->next = head->next;
    list->prev = head->prev;
    list->next->prev = list->prev->next = list;
    link_clear(head);
}

static void timer_place(struct tunnel *tunnel) {
    struct engine *engine = tunnel->engine;
    uint64_t ahead = tunnel->due - engine->tick;
    if (ahead < WHEEL_SLOTS) {
        wheel_put(&engine->near, tunnel->due, &tunnel->timer);
    } else {
        uint64_t far = tunnel->due >> WHEEL_BITS, last = (engine->tick >> WHEEL_BITS) + WHEEL_SLOTS - 1;
        wheel_put(&engine->far, far < last ? far : last, &tunnel->timer);
    }
}

/* Have the tunnel's deadline looked at at `when` (ms) or earlier; an earlier look that is planned stays. */
void timer_arm(struct tunnel *tunnel, uint64_t when) {
    struct engine *engine = tunnel->engine;
    uint64_t due = (when >> TICK_SHIFT) + 1;
    if (due <= engine->tick)
        due = engine->tick + 1;
    if (tunnel->armed) {
        if (tunnel->due <= due)
            return;
        link_take(&tunnel->timer);
    } else {
        tunnel->armed = 1;
        engine->timers++;
    }
    tunnel->due = due;
    timer_place(tunnel);
}

void timer_disarm(struct tunnel *tunnel) {
    if (!tunnel->armed)
        return;
    link_take(&tunnel->timer);
    tunnel->armed = 0;
    tunnel->engine->timers--;
}

static uint64_t deadline_of(const struct tunnel *tunnel) {
    uint64_t deadline = UINT64_MAX;
    if (tunnel->timeout)
        deadline = tunnel->moved_at + tunnel->timeout;
    if (tunnel->limit && tunnel->started_at + tunnel->limit < deadline)
        deadline = tunnel->started_at + tunnel->limit;
    return deadline;
}

static void timer_expire(struct tunnel *tunnel) {
    switch (tunnel->phase) {
    case PHASE_HANDSHAKE:
        tunnel_decide(tunnel, DECIDED_HANDSHAKE, CAUSE_BUSY, 0);
        break;
    case PHASE_DIAL:
        tunnel_decide(tunnel, DECIDED_DIAL, CAUSE_CONNECT_TIMEOUT, 0);
        break;
    case PHASE_TALK:
        tunnel_decide(tunnel, DECIDED_TALK, CAUSE_BUSY, 0);
        break;
    case PHASE_RELAY:
    case PHASE_SETTLE:
        engine_queue(tunnel);
        break;
    }
}

static void timer_look(struct tunnel *tunnel) {
    uint64_t deadline = deadline_of(tunnel);
    tunnel->armed = 0;
    tunnel->engine->timers--;
    if (deadline == UINT64_MAX)
        return;
    if (deadline <= tunnel->engine->now)
        timer_expire(tunnel);
    else
        timer_arm(tunnel, deadline);
}

static void cascade(struct engine *engine) {
    struct link list;
    wheel_take(&engine->far, (unsigned)(engine->tick >> WHEEL_BITS) & (WHEEL_SLOTS - 1), &list);
    while (!link_alone(&list)) {
        struct tunnel *tunnel = OWNER(list.next, struct tunnel, timer);
        link_take(&tunnel->timer);
        timer_place(tunnel);
    }
}

/* How many ticks can be passed without work: up to the next used slot, the next cascade, or `most`. */
static uint64_t quiet_ticks(const struct engine *engine, uint64_t most) {
    uint64_t next = engine->tick + 1;
    uint64_t quiet = wheel_next(&engine->near, (unsigned)next & (WHEEL_SLOTS - 1));
    uint64_t turn = WHEEL_SLOTS - (next & (WHEEL_SLOTS - 1));
    if ((next & (WHEEL_SLOTS - 1)) == 0)
        turn = 0;
    if (turn < quiet)
        quiet = turn;
    return quiet < most ? quiet : most;
}

void timers_run(struct engine *engine) {
    uint64_t target = engine->now >> TICK_SHIFT;
    if (!engine->timers) {
        engine->tick = target;
        return;
    }
    while (engine->tick < target) {
        struct link list;
        engine->tick += quiet_ticks(engine, target - engine->tick);
        if (engine->tick >= target)
            return;
        engine->tick++;
        if ((engine->tick & (WHEEL_SLOTS - 1)) == 0)
            cascade(engine);
        wheel_take(&engine->near, (unsigned)engine->tick & (WHEEL_SLOTS - 1), &list);
        while (!link_alone(&list)) {
            struct tunnel *tunnel = OWNER(list.next, struct tunnel, timer);
            link_take(&tunnel->timer);
            timer_look(tunnel);
        }
    }
}

/* Milliseconds until the wheels need a look, -1 when no tunnel waits. */
int timers_wait(const struct engine *engine) {
    uint64_t next = engine->tick + 1, when;
    unsigned near, far;
    if (!engine->timers)
        return -1;
    near = wheel_next(&engine->near, (unsigned)next & (WHEEL_SLOTS - 1));
    when = near < WHEEL_SLOTS ? next + near : UINT64_MAX;
    far = wheel_next(&engine->far, (unsigned)((engine->tick >> WHEEL_BITS) + 1) & (WHEEL_SLOTS - 1));
    if (far < WHEEL_SLOTS) {
        uint64_t turn = ((engine->tick >> WHEEL_BITS) + 1 + far) << WHEEL_BITS;
        if (turn < when)
            when = turn;
    }
    when <<= TICK_SHIFT;
    return when > engine->now ? (int)(when - engine->now) : 0;
}

/* Let the timerfd wake the loop that watches us, when another loop does. */
void timers_set_alarm(struct engine *engine) {
    int wait = engine->alarm < 0 ? -1 : timers_wait(engine);
    uint64_t tick = wait < 0 ? 0 : (engine->now + (uint64_t)wait) >> TICK_SHIFT;
    struct itimerspec when = {.it_value = {wait / 1000, (wait % 1000) * 1000000L}};
    if (engine->alarm < 0 || tick == engine->alarm_tick)
        return;
    engine->alarm_tick = tick;
    if (wait < 0)
        when.it_value.tv_sec = when.it_value.tv_nsec = 0;
    else if (wait == 0)
        when.it_value.tv_nsec = 1;
    timerfd_settime(engine->alarm, 0, &when, NULL);
}
