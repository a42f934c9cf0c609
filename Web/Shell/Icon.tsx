// Small pictures beside words; to a screen reader they are nothing.

const paths = {
    chat: "M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H11l-4.2 3.6a.5.5 0 0 1-.8-.4V16A2.4 2.4 0 0 1 4 13.5z",
    brand: "M5 9.5 6.2 5h11.6L19 9.5M5 9.5a2.3 2.3 0 0 0 4.6 0 2.4 2.4 0 0 0 4.8 0 2.3 2.3 0 0 0 4.6 0M6 12v7h12v-7M10 19v-4h4v4",
    order: "M7 4h10l1 16-3-1.8L12 20l-3-1.8L6 20zM9.5 9h5M9.5 13h5",
    wallet: "M5 7.5h12.5A1.5 1.5 0 0 1 19 9v9a1.5 1.5 0 0 1-1.5 1.5h-12A1.5 1.5 0 0 1 4 18V7a2 2 0 0 1 2-2h10M15.5 13.5h.01",
    me: "M12 12.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c.6-3.4 3.6-5.5 7.5-5.5s6.900 2.100 7.500 5.500",
    back: "M15 5l-7 7 7 7",
    send: "M12 19V6M6 11.500l6-6 6 6",
    check: "M5 12.500l4.500 4.500L19 7.500",
    clock: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 8v4.500l3 1.800",
    plus: "M12 5v14M5 12h14",
    close: "M6 6l12 12M18 6L6 18",
    bell: "M6 16.500V11a6 6 0 0 1 12 0v5.500l1.500 1.500h-15zM10 20.500h4",
    search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM15.500 15.500L20 20",
    device: "M8 3.500h8A1.500 1.500 0 0 1 17.500 5v14a1.500 1.500 0 0 1-1.500 1.500H8A1.500 1.500 0 0 1 6.500 19V5A1.500 1.500 0 0 1 8 3.500zM11 17.500h2",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
    return (
        <svg className={`icon icon-${name}`} viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor"
            strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
            <path d={paths[name]} />
        </svg>
    );
}
