// The server's clock, as its answers tell it: what a sale's opening is measured by, whatever a device believes.

/** The answers' `Date` has whole seconds: each says that the difference is between two bounds, and all hold together. */
export class Clock {
    private least = -Infinity;
    private most = Infinity;

    /** Learns from an answer: its date, when it was asked for and when it came, in milliseconds of this device. */
    learn(date: string | null, asked: number, came: number): void {
        const said = date === null ? NaN : Date.parse(date);
        if (Number.isNaN(said)) return;
        const least = said - came;
        const most = said + 1000 - asked;
        // The device's clock was set, or it slept: what was known is of another time.
        if (least > this.most || most < this.least) {
            this.least = least;
            this.most = most;
            return;
        }
        this.least = Math.max(this.least, least);
        this.most = Math.min(this.most, most);
    }

    now(): number {
        return Date.now() + (Number.isFinite(this.least) && Number.isFinite(this.most) ? (this.least + this.most) / 2 : 0);
    }
}

export const clock = new Clock();
