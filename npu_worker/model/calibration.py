"""Texts of our own, like those a model will read, to calibrate int8 ranges.

Each entry is a query and a passage that answers it. ``pairs`` also puts queries beside passages that do not
answer them, and beside several passages joined: a reranker reads more misses than hits, and long chunks.
"""
# ruff: noqa: RUF001 - the Russian letters are meant

from collections.abc import Iterator


def pairs() -> Iterator[tuple[str, str]]:
    """Yield query and passage: each answer, each near a miss, every other one in a long chunk."""
    count = len(_ANSWERS)
    for place, (query, answer) in enumerate(_ANSWERS):
        miss = _ANSWERS[(place + 7) % count][1]
        yield query, answer
        yield query, miss
        if place % 2 == 0:
            following = [_ANSWERS[(place + step) % count][1] for step in range(1, 4 + place % 3)]
            yield query, " ".join([answer, *following] if place % 4 else [*following, miss])


_ANSWERS = (
    (
        "how long do cooked lentils keep in the fridge",
        "Cooked lentils keep for four to five days in a closed container in the refrigerator. Let them cool "
        "first, but do not leave them on the counter for more than two hours. For longer storage freeze them in "
        "portions with a little of their cooking water; they will be good for about three months and thaw "
        "overnight.",
    ),
    (
        "What does error 429 mean?",
        "429 Too Many Requests: the client has sent more requests in a given time than the server allows.",
    ),
    (
        "symptoms of iron deficiency in adults",
        "The first signs are easily put down to a busy life: tiredness that sleep does not cure, pale skin, cold "
        "hands, shortness of breath on the stairs. Later come brittle nails, hair loss and an odd appetite for "
        "ice. A doctor orders a blood count and the ferritin level; ferritin below 30 micrograms per litre with "
        "normal inflammation markers usually settles the question. The cause has to be found as well, since in "
        "adults a hidden loss of blood is more frequent than a poor diet.",
    ),
    (
        "rust borrow checker cannot borrow as mutable more than once",
        "error[E0499]: cannot borrow `items` as mutable more than once at a time. The first borrow is still in "
        "use when the second begins. Shorten its life: put the first use in a block of its own, copy the index "
        "instead of the reference, or use `split_at_mut`, which hands out two slices that cannot overlap.\n\n"
        "```rust\nlet (left, right) = items.split_at_mut(middle);\nleft[0] += right[0];\n```",
    ),
    (
        "notice period for tenants leaving a flat",
        "Section 9. The tenant may end the contract in writing with three months' notice to the end of a month. "
        "Notice that arrives by the third working day of a month counts for that month. The landlord's notice "
        "grows with the length of the tenancy: three months up to five years, six months up to eight, nine months "
        "after that. An agreement that lengthens the tenant's notice is void.",
    ),
    (
        "capital of Mongolia",
        "Ulaanbaatar",
    ),
    (
        "why did the Bronze Age civilisations collapse",
        "Around 1200 BC palaces from Pylos to Ugarit burned within two generations. Older accounts blamed raiders "
        "who came by sea; tree rings and pollen now point to decades of drought as well. The palaces lived on "
        "trade in copper and tin, and each depended on the others' harvests, so a blow to one reached all. "
        "Earthquakes, revolts and hunger drove people to move, and moving people were, to those they met, "
        "raiders. Not everything ended: Cyprus went on forging, now in iron, and the Phoenician towns kept their "
        "ships, their books and, before long, an alphabet that their customers could learn in a week.",
    ),
    (
        "Wie entkalke ich eine Kaffeemaschine?",
        "Füllen Sie den Wassertank mit einer Mischung aus einem Teil Zitronensäure und zehn Teilen kaltem Wasser. "
        "Lassen Sie die Hälfte durchlaufen, warten Sie fünfzehn Minuten und starten Sie dann den Rest. Danach "
        "spülen Sie zweimal mit klarem Wasser. Essig geht auch, riecht aber und greift Dichtungen an.",
    ),
    (
        "best time of year to prune apple trees",
        "Prune apple trees in late winter, when the hardest frosts are over and the buds have not yet opened.",
    ),
    (
        "quarterly revenue growth of the cloud division",
        "Revenue of the cloud segment rose 23 % to 4.1 billion in the third quarter (previous year: 3.3 billion), "
        "helped by two large contracts in the public sector. Operating margin fell from 31.2 % to 28.9 % as new "
        "data centres came into service. For the full year the board expects growth between 19 and 22 % at "
        "constant exchange rates. The hardware segment, by contrast, lost 6 %, and the group's net debt increased "
        "to 1.9 billion.",
    ),
    (
        "how to revert a pushed git commit",
        "Use `git revert <hash>`: it makes a new commit that undoes the old one, so nobody's history is "
        "rewritten. Then push as usual.",
    ),
    (
        "do cats need vaccination if they stay indoors",
        "Yes. Even a cat that never goes out meets viruses that people carry in on shoes and clothes. Vets advise "
        "the basic course against panleukopenia and cat flu in the first year and a booster every one to three "
        "years; rabies and leukaemia shots depend on the country and on contact with other cats.",
    ),
    (
        "¿Cuánto tarda en fraguar el hormigón?",
        "El hormigón empieza a fraguar a las pocas horas, se puede pisar al cabo de uno o dos días y alcanza "
        "cerca del setenta por ciento de su resistencia a los siete. La resistencia nominal se mide a los "
        "veintiocho días. Con frío el proceso es más lento, y por debajo de cinco grados conviene proteger la "
        "superficie.",
    ),
    (
        "who wrote the opera about a cursed sailor",
        "The Flying Dutchman is an opera in three acts by Richard Wagner, first given in Dresden in January 1843.",
    ),
    (
        "train from Lyon to Turin duration",
        "Three direct trains a day link Lyon Part-Dieu with Torino Porta Susa by way of Chambéry and the Fréjus "
        "tunnel. The journey takes about three hours and forty-five minutes. When the line through the Maurienne "
        "is closed, coaches replace the trains and need almost an hour more; seats must be booked either way. "
        "Bicycles travel only if folded or packed.",
    ),
    (
        "difference between TCP and UDP",
        "TCP sets up a connection, numbers the bytes, acknowledges them and sends lost ones again, so that the "
        "receiver reads one ordered stream; it also slows down when the network is full. UDP does none of this: a "
        "datagram arrives whole or not at all, in any order. That is why file transfer and web pages long ran "
        "over TCP, while calls, games and name look-ups use UDP. QUIC builds streams, encryption and congestion "
        "control on top of UDP.",
    ),
    (
        "photosynthesis equation",
        "6 CO2 + 6 H2O + light -> C6H12O6 + 6 O2",
    ),
    (
        "can I take ibuprofen with blood pressure tablets",
        "Ask before you do. Ibuprofen and related painkillers make the kidneys hold back salt and water, which "
        "raises blood pressure and weakens the effect of ACE inhibitors, sartans and diuretics. All three "
        "together can harm the kidneys, above all in older people and in hot weather. For an occasional headache "
        "paracetamol is usually the better choice. If an anti-inflammatory is needed for longer, the doctor "
        "should check pressure, creatinine and potassium after one or two weeks.",
    ),
    (
        "Comment obtenir un extrait d'acte de naissance ?",
        "La demande se fait en ligne, par courrier ou au guichet de la mairie du lieu de naissance. Elle est "
        "gratuite. Il faut indiquer les nom et prénoms, la date de naissance et, pour une copie intégrale, les "
        "noms des parents.",
    ),
    (
        "what is a mirrorless camera",
        "A mirrorless camera shows the sensor's picture on a screen or in an electronic finder. There is no "
        "mirror box, so the body is thin and lenses can sit closer to the sensor.",
    ),
    (
        "reset forgotten router password",
        "1. Find the small hole marked RESET at the back. 2. With the router on, press a paper clip into it for "
        "ten seconds until all lights blink. 3. Wait two minutes. 4. Connect by cable and open the address "
        "printed on the label. 5. Log in with the password from the label and choose a new one. All settings, "
        "including the name of your wireless network and the access data of your provider, are lost; have the "
        "provider's letter at hand.",
    ),
    (
        "effects of rising interest rates on house prices",
        "When mortgage rates rise, the same monthly payment carries a smaller loan, so buyers bid less. Prices "
        "follow slowly: sellers would rather wait than accept a loss, and for a year or two the number of sales "
        "falls before the prices do. Rents often go up meanwhile, because would-be buyers stay where they are. "
        "Building stops first where land was bought dear. In the cycle described here turnover fell by 38 %, "
        "prices by 11 % in real terms, and in towns with a growing population half of that was made good within "
        "thirty months.",
    ),
    (
        "日本で一番高い山は何ですか",
        "富士山は標高3776メートルで、日本で最も高い山である。静岡県と山梨県にまたがる活火山で、最後の噴火は1707年。",
    ),
    (
        "sourdough starter not rising",
        "A starter that bubbles but does not rise is usually too wet or too cold. Keep it at 25 degrees and feed "
        "it with equal weights of flour and water, twice a day, with a spoon of rye flour. After three days it "
        "should double in six hours. A grey liquid on top only means that it is hungry; a pink streak means that "
        "it has to be thrown away.",
    ),
    (
        "python list remove duplicates keep order",
        "list(dict.fromkeys(items)) keeps the first of each and the order, because dicts remember insertion order.",
    ),
    (
        "how do vaccines train the immune system",
        "A vaccine shows the body a harmless piece of a germ. Scouts carry the piece to the nearest lymph node, "
        "where the few cells whose receptors happen to fit it start to divide. Some become factories for "
        "antibodies, others helpers or killers of infected cells. After two weeks most of them die; a small "
        "number stays for years, in the bone marrow and the blood, and recognises the real germ at once. The "
        "second dose repeats the lesson: those cells that bind best are picked again, so the answer grows both "
        "larger and more exact.",
    ),
    (
        "opening hours town library saturday",
        "Town library, Mill Street 4. Mon closed. Tue-Fri 10:00-18:30. Sat 10:00-14:00. Returns by night through "
        "the hatch.",
    ),
    (
        "Сколько планет в Солнечной системе?",
        "В Солнечной системе восемь планет: Меркурий, Венера, Земля, Марс, Юпитер, Сатурн, Уран и Нептун. Плутон "
        "с 2006 года относят к карликовым планетам.",
    ),
    (
        "warranty claim for a laptop battery that swells",
        "Stop using the machine, switch it off and do not press on the lid or pierce the battery. A swollen "
        "battery is covered for twelve months where the rest has twenty-four, unless the maker's terms say more; "
        "damage done by a foreign charger is not. Write to the seller, not the maker, describe the fault, add a "
        "photograph and the bill, and set a date fourteen days off. A lithium battery in this state must not "
        "travel by ordinary post: ask for a collection in a fireproof box. If the seller refuses, the consumer "
        "advice centre will look at the case for a fee.",
    ),
    (
        "meaning of the idiom 'bite the bullet'",
        "To bite the bullet is to go through with something unpleasant that can no longer be put off.",
    ),
)
