/* Roles that cannot begin because something they need is wrong: said in log, status and journal until it is right. The rule is in role.h, ROLE_EXIT_UNFIT. */
#include <stdio.h>

#include "common/system/parent_internal.h"
#include "common/values/log.h"
#include "common/values/wire.h"

enum { ALARM_MS = 60000 /* between two alarms that say the same */, SETTLED_S = 10 /* who has lived so long has begun, even when it said nothing */ };

/* `why` "": it has begun. */
static void tell(struct process *to, const struct process *of, const char *why)
{
    uint8_t bytes[ROLE_NOTE_MAX + 100];
    struct buf b = {.data = bytes, .capacity = sizeof bytes, .max = sizeof bytes};
    struct wire_writer w = wire_write(&b);

    wire_put_text(&w, slice_text(of->kind->name));
    wire_put_u32(&w, of->index);
    wire_put_text(&w, slice_text(why));
    if (!parent_tell(to, PARENT_UNFIT, buf_slice(&b)))
        log_debug("role-silent", "%s does not hear that %s cannot begin", to->kind->name, of->kind->name);
}

static void tell_all(const struct process *of, const char *why)
{
    for (unsigned i = 0; i < of->parent->count; i++)
        tell(&of->parent->processes[i], of, why);
}

void parent_unfit_said(struct process *p, struct slice why)
{
    char line[ROLE_NOTE_MAX];

    parent_keep_line(line, why);
    if (strcmp(line, p->unfit) == 0)
        return;
    snprintf(p->unfit, sizeof p->unfit, "%s", line);
    p->unfit_logged = 0;
}

bool parent_unfit_ended(struct process *p)
{
    p->begun = p->begun || time(NULL) - p->started > SETTLED_S;
    if (!p->begun)
        return false;
    if (*p->unfit == '\0')
        snprintf(p->unfit, sizeof p->unfit, "it has not said why");
    snprintf(p->note, sizeof p->note, "cannot begin: %.*s", ROLE_NOTE_MAX - 20, p->unfit);
    if (p->unfit_logged == 0)
        tell_all(p, p->unfit);
    if (p->unfit_logged == 0 || parent_now() - p->unfit_logged >= ALARM_MS) {
        log_error("role-unfit", "%s %u cannot begin, and is tried again until it can: %s", p->kind->name, p->index, p->unfit);
        p->unfit_logged = parent_now();
    }
    return true;
}

void parent_unfit_over(struct process *p)
{
    bool told = p->unfit_logged != 0;

    p->begun = true;
    *p->unfit = '\0';
    p->unfit_logged = 0;
    /* Of what it said and did not end for nobody has heard. */
    if (!told)
        return;
    log_info("role-fit", "%s %u has begun: what was wrong is right", p->kind->name, p->index);
    tell_all(p, "");
}

void parent_unfit_introduce(struct process *p)
{
    for (unsigned i = 0; i < p->parent->count; i++)
        if (*p->parent->processes[i].unfit != '\0')
            tell(p, &p->parent->processes[i], p->parent->processes[i].unfit);
}
