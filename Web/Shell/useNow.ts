// The server's clock on a page.
import { useEffect, useState } from "react";
import { clock } from "../API/Clock";

/** What time it is at the server, told anew at each full second, or not at all where nothing waits for it. */
export function useNow(isNeeded = true): number {
    const [now, setNow] = useState(() => clock.now());
    useEffect(() => {
        if (!isNeeded) return undefined;
        let timer = 0;
        const tick = () => {
            const at = clock.now();
            setNow(at);
            timer = window.setTimeout(tick, 1000 - (at % 1000) + 2);
        };
        tick();
        return () => clearTimeout(timer);
    }, [isNeeded]);
    return now;
}
