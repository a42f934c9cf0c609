// How long it is until something, by the server's clock.
import { useNow } from "../Shell/useNow";
import { useText } from "../Shell/useText";
import type { Language } from "../Shell/Text";

const pad = (value: number) => String(value).padStart(2, "0");

/** 1:02:03, or 02:03 where there are no hours. */
export function digits(milliseconds: number): string {
    const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
    const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    return hours > 0 ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${pad(minutes)}:${pad(rest)}`;
}

/** The same in words, as coarse as one wants to hear it. */
export function spoken(milliseconds: number, text: Language): string {
    const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
    if (seconds >= 172_800) return text.say("time.days", { count: Math.floor(seconds / 86_400) });
    if (seconds >= 7200) return text.say("time.hours", { count: Math.floor(seconds / 3600) });
    if (seconds >= 60) return text.say("time.minutes", { count: Math.ceil(seconds / 60) });
    return text.say("time.seconds", { count: seconds });
}

/** A length of time that is over: 5.1 seconds. */
export function took(milliseconds: number, text: Language): string {
    if (milliseconds < 60_000) return text.say("time.tookSeconds", { seconds: Math.round(milliseconds / 100) / 10 });
    return spoken(milliseconds, text);
}

export function Countdown({ until, label }: { until: number; label: string }) {
    const text = useText();
    const left = until - useNow();
    if (left > 172_800_000) return <p className="countdown far">{label} <strong>{text.moment(new Date(until))}</strong></p>;
    // Digits are for the eyes; a screen reader is told at each minute, and in the last ten seconds not at all.
    const minutes = Math.ceil(left / 60_000);
    return (
        <p className="countdown">
            <span className="countdown-label">{label}</span>
            <strong className="digits" aria-hidden="true">{digits(left)}</strong>
            <span className="unseen" role="timer" aria-live="polite" aria-atomic="true">
                {left > 10_000 ? `${label} ${spoken(minutes * 60_000, text)}` : label}
            </span>
        </p>
    );
}
