"""The rule that selects the backups to keep. It reads no clock and no disk."""


def keep(times, days, weeks):
    """Returns the times to keep: the last of each of the newest `days` days that have one, and of each of the newest `weeks` weeks.

    Days and weeks (from Monday) are those of UTC. Only days and weeks with a backup count, so a month without backups removes none.
    The newest time is always kept.
    """
    if days < 0 or weeks < 0:
        raise ValueError(f"days ({days}) and weeks ({weeks}) must not be negative")
    newest_first = sorted(set(times), reverse=True)
    kept = set(newest_first[:1])
    for most, period in ((days, lambda time: time.date()), (weeks, lambda time: time.isocalendar()[:2])):
        seen = set()
        for time in newest_first:
            if len(seen) < most and period(time) not in seen:
                kept.add(time)
                seen.add(period(time))
    return kept
