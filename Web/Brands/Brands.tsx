// Brands, and beside them the one that was chosen: follow it, read its posts, write to it, see its sales.
import { useMemo, useState } from "react";
import { call } from "../API/Client";
import { all } from "../API/Pages";
import { useStore } from "../API/Store";
import { AskForNotices } from "../Notifications/Notices";
import { GoodsCard } from "../Sales/GoodsCard";
import { Trouble } from "../Shell/Explain";
import { useSending } from "../Shell/Form";
import { useMember } from "../Shell/Member";
import { Avatar, Empty, Head, Panes } from "../Shell/Parts";
import { go, to } from "../Shell/Route";
import { useLoaded } from "../Shell/useLoaded";
import { useText } from "../Shell/useText";
import type { Brands as BrandPage, Post } from "@api";

type Brand = BrandPage["items"][number];

const readBrands = (signal: AbortSignal): Promise<Brand[]> =>
    all(1000, (cursor) => call("listBrands", { query: { limit: 100, cursor } }, signal));

export function Brands({ id }: { id: string | undefined }) {
    const text = useText();
    const brands = useLoaded(readBrands, []);
    const chosen = brands.value?.find((one) => one.brandId === id);
    return (
        <Panes
            list={(
                <>
                    <Head title={text.say("room.brands")} />
                    <Trouble error={brands.error} again={brands.again} />
                    {brands.isLoading && !brands.value && <p className="waiting">{text.say("state.loading")}</p>}
                    {brands.value?.length === 0 && <Empty title={text.say("brand.none")} />}
                    <ul className="list">
                        {brands.value?.map((one) => (
                            <li key={one.brandId}>
                                <a href={to("brands", one.brandId)} className="line" aria-current={one.brandId === id ? "true" : undefined}>
                                    <Avatar name={one.displayName} id={one.brandId} isBrand />
                                    <span className="line-text">
                                        <strong>{one.displayName}</strong>
                                        <span className="line-said">{one.isFollowed ? text.say("brand.followed") : one.handle ? `@${one.handle}` : ""}</span>
                                    </span>
                                </a>
                            </li>
                        ))}
                    </ul>
                </>
            )}
            detail={chosen ? <BrandDetail key={chosen.brandId} brand={chosen} changed={brands.again} />
                : id !== undefined && brands.value ? <Empty title={text.say("problem.notFound")} />
                    : <Empty title={text.say("brand.choose")} />} />
    );
}

function BrandDetail({ brand, changed }: { brand: Brand; changed: () => void }) {
    const text = useText();
    const member = useMember();
    const count = useStore(member.postCount);
    const [wasFollowed, setFollowed] = useState(false);
    const posts = useLoaded((signal) => readPosts(brand.brandId, signal), [brand.brandId, count]);
    const sales = useLoaded((signal) => call(
        "listSales", { query: { brandId: brand.brandId, status: "published", limit: 10 } }, signal), [brand.brandId, count]);
    const following = useSending(async () => {
        await call(brand.isFollowed ? "unfollowBrand" : "followBrand", { path: { id: brand.brandId } });
        setFollowed(!brand.isFollowed);
        changed();
    });
    const writing = useSending(async () => go("chats", await member.conversations.open({ accountId: brand.brandId })));
    const shown = useMemo(() => [...(posts.value ?? [])].reverse(), [posts.value]);
    const announced = new Set(shown.map((one) => one.saleId));
    return (
        <div className="page">
            <Head title={brand.displayName} back={to("brands")} />
            <div className="stack">
                <section className="card brand-head">
                    <Avatar name={brand.displayName} id={brand.brandId} isBrand />
                    <div className="grow"><h2>{brand.displayName}</h2><p className="faint">{brand.handle ? `@${brand.handle}` : ""}</p></div>
                    <form onSubmit={following.submit}>
                        <button type="submit" className={brand.isFollowed ? "" : "primary"} aria-disabled={following.isSending}
                            aria-pressed={brand.isFollowed}>
                            {brand.isFollowed ? text.say("brand.following") : text.say("brand.follow")}
                        </button>
                    </form>
                    <form onSubmit={writing.submit}><button type="submit">{text.say("brand.write")}</button></form>
                </section>
                <Trouble error={following.error ?? writing.error ?? posts.error} again={posts.again} />
                {wasFollowed && <AskForNotices why={text.say("notice.whyBrand", { brand: brand.displayName })} />}
                {sales.value?.items.filter((one) => !announced.has(one.saleId)).slice(0, 3).map((one) => (
                    <GoodsCard key={one.saleId} saleId={one.saleId} card={{ ...one, batches: one.batches }} />
                ))}
                {posts.value?.length === 0 && sales.value?.items.length === 0 && <Empty title={text.say("brand.noPosts")} />}
                {shown.map((post) => (
                    <article key={post.messageId} className="post">
                        <time className="faint" dateTime={post.sentAt}>{text.moment(new Date(post.sentAt))}</time>
                        <p dir="auto">{text.pick(post.text)}</p>
                        {post.kind === "goodsCard" && <GoodsCard saleId={post.saleId} card={post.card} />}
                    </article>
                ))}
            </div>
        </div>
    );
}

/** All posts: a list goes forward only, and those at its end are wanted. */
async function readPosts(id: string, signal: AbortSignal): Promise<readonly Post[]> {
    let kept: Post[] = [];
    let after = 0;
    for (;;) {
        const page = await call("listPosts", { path: { id }, query: { after, limit: 100 } }, signal);
        kept = [...kept, ...page.items].slice(-50);
        if (page.nextCursor === undefined) return kept;
        after = Number(page.nextCursor);
    }
}
