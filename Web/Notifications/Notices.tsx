// Lines that say for a moment what has come, wherever one is.
import { useStore } from "../API/Store";
import { Icon } from "../Shell/Icon";
import { useMember } from "../Shell/Member";
import { useText } from "../Shell/useText";

export function Notices() {
    const text = useText();
    const { alerts } = useMember();
    const notices = useStore(alerts.notices);
    return (
        <div className="notices" role="log" aria-label={text.say("notice.all")}>
            {notices.map((one) => (
                <div key={one.id} className="notice">
                    <a href={one.href} onClick={() => alerts.dismiss(one.id)}>
                        <strong>{one.title}</strong>
                        <span>{one.text}</span>
                    </a>
                    <button type="button" className="round quiet" aria-label={text.say("action.close")}
                        onClick={() => alerts.dismiss(one.id)}><Icon name="close" /></button>
                </div>
            ))}
        </div>
    );
}

/** Offers notices of the browser, where it makes sense and has not been answered. */
export function AskForNotices({ why }: { why: string }) {
    const text = useText();
    const { alerts } = useMember();
    const permission = useStore(alerts.permission);
    if (permission !== "unknown") return null;
    return (
        <div className="ask">
            <Icon name="bell" />
            <span>{why}</span>
            <button type="button" onClick={() => void alerts.ask()}>{text.say("notice.allow")}</button>
        </div>
    );
}
