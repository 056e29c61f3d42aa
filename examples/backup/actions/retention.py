"""Which backups are kept. Nothing here looks at a clock or at a disk."""


def keep(times, days, weeks):
    """Gives the times that stay: the last of each of the newest `days` days that have one, and of each of the newest `weeks` weeks.

    Days and weeks (from Monday) are those of UTC, and only those count that have a backup: where none was made for a month, nothing
    goes on that account. The newest time always stays.
    """
    if days < 0 or weeks < 0:
        raise ValueError(f"days ({days}) and weeks ({weeks}) are not negative")
    newest_first = sorted(set(times), reverse=True)
    kept = set(newest_first[:1])
    for most, period in ((days, lambda time: time.date()), (weeks, lambda time: time.isocalendar()[:2])):
        seen = set()
        for time in newest_first:
            if len(seen) < most and period(time) not in seen:
                kept.add(time)
                seen.add(period(time))
    return kept
