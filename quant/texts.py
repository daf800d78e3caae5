"""Texts for calibration and, disjoint from them, for measurement. Written for this project, MIT license.

Short and long, questions and lists, numbers and names, as users of speech synthesis write them, in the languages of a
pack.
"""

from __future__ import annotations

CALIBRATION = {
    "en": (
        "The kettle is on, and the tea will be ready in three minutes.",
        "Hold left after the bridge, then keep to the river until you see the mill.",
        "Would you like me to read the message again, or shall I answer it?",
        "Yesterday's rain filled both barrels, so the garden needs no water today.",
        "Stop! The door behind you is still open.",
        "There are seven apples, four pears, and one very old banana in the bowl.",
        "I have moved your appointment from Tuesday at nine to Thursday at half past two.",
        "When the bell rings, please walk to the nearest exit and wait outside.",
        "He laughed so loudly that the birds left the roof.",
        "The battery is at twelve percent; I will go back to the charging station now.",
        "A quick breakfast, a long walk, and a good book: that was her plan for Sunday.",
        "Why does the moon look larger when it stands close to the hills?",
        "Nobody noticed the small green box under the stairs for almost twenty years.",
        "Your parcel could not be delivered, because the address was missing a number.",
        "Good evening, and welcome to the last tour of the day.",
        "If the red light stays on, hold the button for five seconds and let go.",
        "My grandmother kept every letter she ever got in a blue tin by the window.",
        "The train to Bristol leaves from platform six in eleven minutes.",
        "Please speak a little more slowly, I did not understand the second name.",
        "It was cold enough that morning to hear the lake freeze.",
        "Add two spoons of flour, stir well, and leave the dough in a warm place for an hour.",
        "She asked for silence, got it, and then forgot what she had wanted to say.",
        "The temperature outside is minus four degrees, with a light wind from the north.",
        "Three knocks, a pause, and then two more; that means a friend is at the door.",
        "I found two results for coffee nearby, and the closer one is open until ten.",
        "What a strange and wonderful machine you have built!",
        "The judge read the sentence twice before she looked up.",
        "No, thank you, I would rather stand.",
        "Every child in the valley knew the way to the old quarry, and none was allowed to go.",
        "Reminder: take the medicine with water, after the meal, not before it.",
        "They painted the boat white in spring, and by autumn it was grey again.",
        "Okay, the lights in the kitchen are off and the heating is set to nineteen.",
    ),
    "zh": (
        "水已经烧开了，三分钟以后就可以喝茶。",
        "过了桥请往左走，沿着河一直走到磨坊。",
        "要我再读一遍这条消息，还是现在就回复？",
        "昨天下了一整夜的雨，今天花园不用浇水了。",
        "您的预约已经从星期二上午九点改到星期四下午两点半。",
        "电量还剩百分之十二，我现在要回去充电。",
        "为什么月亮靠近山顶的时候看起来更大？",
        "请在铃声响起以后走到最近的出口，在外面等候。",
        "开往杭州的列车将在十一分钟后从六号站台出发。",
        "外面的气温是零下四度，有轻微的北风。",
        "她把每一封信都放在窗边的蓝色铁盒里。",
        "你造了一台多么奇妙的机器！",
    ),
}
HELD_OUT = {
    "en": (
        "The ferry was late again, but the sea was calm and nobody complained.",
        "Can you tell me how many steps there are up to the tower?",
        "Put the long screws in first, then the short ones, and tighten all of them at the end.",
        "A stranger with a grey umbrella has been standing at the corner since noon.",
        "I set the alarm for a quarter to seven.",
        "Most people think the old library is closed, yet its side door is open every Friday.",
    ),
    "zh": (
        "渡船又晚点了，不过海面很平静，没有人抱怨。",
        "请先装长螺丝，再装短螺丝，最后一起拧紧。",
        "闹钟已经设在六点四十五分。",
    ),
}
# The text of the built-in recording, for packs without a ready voice.
VOICE = "Some mornings the whole harbour smells of bread, and the boats go out a little later than they should."


def choose(texts: dict[str, tuple[str, ...]], languages: tuple[str, ...], n: int) -> tuple[str, ...]:
    """At most `n` texts, alternating between the available languages."""
    lists = [texts[language] for language in languages if language in texts]
    turns = [text for i in range(max(map(len, lists), default=0)) for each in lists for text in each[i : i + 1]]
    return tuple(turns[:n])
