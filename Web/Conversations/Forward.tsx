// Sends a sale to somebody one talks with.
import { useState } from "react";
import { useStore } from "../API/Store";
import { Icon } from "../Shell/Icon";
import { useMember } from "../Shell/Member";
import { Avatar } from "../Shell/Parts";
import { go } from "../Shell/Route";
import { useText } from "../Shell/useText";

export function Forward({ saleId, title }: { saleId: string; title: string }) {
    const text = useText();
    const { conversations } = useMember();
    const { items } = useStore(conversations.list);
    const [isOpen, setOpen] = useState(false);
    const others = items.filter((one) => one.with.kind !== "brand" && one.with.displayName !== undefined);
    const send = (id: string) => {
        conversations.outbox.send(id, { kind: "goodsCard", saleId, text: title });
        go("chats", id);
    };
    return (
        <section className="forward">
            <button type="button" className="wide" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
                <Icon name="send" />{text.say("sale.forward")}
            </button>
            {isOpen && others.length === 0 && <p className="hint">{text.say("sale.forwardNobody")}</p>}
            {isOpen && others.length > 0 && (
                <ul className="list">
                    {others.map((one) => (
                        <li key={one.conversationId}>
                            <button type="button" className="line quiet wide" onClick={() => send(one.conversationId)}>
                                <Avatar name={one.with.displayName ?? ""} id={one.with.accountId} />
                                <span className="line-text">{one.with.displayName}</span>
                            </button>
                        </li>
                    ))}
                </ul>
            )}
        </section>
    );
}
