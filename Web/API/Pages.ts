// Lists that come in pages.

interface Page<Item> {
    readonly items: readonly Item[];
    readonly nextCursor?: string | undefined;
}

/** Reads page after page until there is no more, or `itemsMax` have come. @param read asks for the page at a cursor. */
export async function all<Item>(
    itemsMax: number, read: (cursor: string | undefined) => Promise<Page<Item>>,
): Promise<Item[]> {
    const items: Item[] = [];
    let cursor: string | undefined;
    do {
        const page = await read(cursor);
        items.push(...page.items);
        cursor = page.nextCursor;
    } while (cursor !== undefined && items.length < itemsMax);
    return items;
}
