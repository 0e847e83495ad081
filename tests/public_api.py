"""Never run: the public names used as users use them, so that the strict type checker pins their signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tools import StructuredTool
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import LLM
from llama_index.core.memory import Memory
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

import commonscale
import commonscale.langchain
import commonscale.llama_index
from commonscale import (
    Calibration,
    Candidates,
    Centering,
    DriftMonitor,
    DriftReport,
    JointSearch,
    LivingCalibration,
    ModalityStatistics,
    Provenance,
    Question,
    QuestionBank,
    Ranking,
    StoreCheck,
    Verification,
    load_encoder,
    to_cosine,
)
from commonscale.answering import (
    Answer,
    Answerer,
    AsyncAnswerer,
    ChatModelAnswerer,
    Condenser,
    Event,
    Finished,
    Limits,
    LlamaIndexAnswerer,
    QuestionAnswering,
    Rankings,
    Request,
    Turn,
    answerer_for,
)
from commonscale.app import Handlers, Library, Patience, build_app, build_server, open_library
from commonscale.core.duplicates import DistinctCount
from commonscale.core.errors import ImageError
from commonscale.core.padding import padded
from commonscale.datasets import DatasetQuestion, MixBench, MultiModalQA, RetrievalDataset, UniVLDR, WebQA
from commonscale.demo.langchain_model import DrawnWorldChatModel
from commonscale.demo.llama_index_model import DrawnWorldLLM
from commonscale.diagnostics import Diagnosis, Material, diagnose, verdict, write_diagnoses
from commonscale.diagnostics.hits import hits_figure
from commonscale.embedding import open_shards
from commonscale.encoders import CenteredEncoder, Encoder, ImageOptions
from commonscale.evaluation import (
    Benchmark,
    Comparison,
    Interval,
    Results,
    compare_files,
    evaluate_files,
    means_of,
    score_files,
    score_methods,
)
from commonscale.index import Document, FaissIndex
from commonscale.priors import (
    FunctionPrior,
    LabeledPrior,
    Prior,
    PromptPrior,
    SelfTaughtPrior,
    ZeroShotPrior,
    best_scores,
    load_prior,
    strength_of,
)
from commonscale.prompting import (
    CHAT_INSTRUCTIONS,
    PICTURE_RULES,
    Budget,
    Citations,
    Mark,
    PictureRule,
    Pictures,
    PreparedPicture,
    Prompt,
    PromptBuilder,
    PromptItem,
    neutralize,
    parse_citations,
    rule_of,
    strip_citations,
    strip_unknown,
    user_parts,
)
from commonscale.reproduction import Sizes, reproduce, write_reproduction


class OwnSource:
    """The smallest source: one method."""

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        return [Candidates(["a"][:k], np.zeros(1)) for _ in questions]


def core(path: Path) -> Ranking:
    search = JointSearch({"text": OwnSource()}, provenance={"text": Provenance("clip", 512, "cosine")})
    questions = [Question("what?", np.zeros(512, dtype=np.float32))]
    statistics: dict[str, ModalityStatistics] = QuestionBank.fit(questions, search.sources).statistics()
    statistics["text"].merge(statistics["text"]).partial_fit([0.5])
    calibration: Calibration = search.calibrate(questions, method="standardized")
    calibration.save(path)
    search.calibration = Calibration.load(path)
    calibration.probability(to_cosine([0.1], "squared_l2"), "text")
    return search.search(questions[0], 5, minimum={"text": 1}, raw=False)


def filled_up(search: JointSearch, questions: list[Question]) -> int:
    bank: list[Question] = padded(questions, search.sources["text"], at_least=200, seed=1)
    different = DistinctCount()
    different.add(np.ones((1, 512)))
    different.remove(np.ones((1, 512)))
    return len(bank) + different.count


def verified(search: JointSearch) -> str:
    report: Verification = search.verify()
    check: StoreCheck = report["text"]
    return str(report) if report.ok else f"{check.largest_difference} {check.recall} {check.errors[0].words}"


def living(search: JointSearch, questions: Sequence[Question], path: Path) -> LivingCalibration:
    made = LivingCalibration.fit(questions, search.sources, method="chance", capacity=1000, keep_vectors=False)
    end: Callable[[], None] = made.attach(search)
    before = made.remember("text", ["a"])
    made.added("text", ["a"], np.ones((1, 512)), before)
    made.removed("text", ["a"], before)
    made.join(questions)
    made.flush()
    calibration: Calibration = made.refit(questions)
    made.on_change(lambda calibration: calibration.save(path))
    monitor = DriftMonitor(made, policy="recalibrate", windows=[50, 200], false_alarms=0.01)
    report: DriftReport = monitor.observe({"text": [0.5]}, questions)
    monitor.attach(search)
    end()
    made.save(path)
    return made if report.drifted or calibration.strata else LivingCalibration.load(path, search.sources)


async def core_async(search: JointSearch, question: Question) -> list[Ranking]:
    return [await search.asearch(question, 5), *await search.asearch_batch([question], 5)]


def priors(search: JointSearch, questions: list[Question], encoder: Encoder, path: Path) -> list[Prior]:
    calibration = search.calibrate(questions)
    labeled: LabeledPrior = LabeledPrior.fit(questions, ["text", "image"]).scaled_to(calibration)
    labeled.save(path)
    taught: SelfTaughtPrior = SelfTaughtPrior.fit(questions, best_scores(search, questions), encoder=encoder)
    zero_shot = ZeroShotPrior.fit(questions, encoder, {"text": ["who?"], "image": ["what color?"]}, spread=1.5)
    asked = PromptPrior(lambda prompt: prompt, batch_size=5).scaled(strength_of(calibration))
    ruled = FunctionPrior(lambda text: {"text": 0.5, "image": 0.5}).calibrated(questions, ["text", "image"])
    search.prior = load_prior(path, fingerprint=encoder.fingerprint)
    return [labeled, taught, zero_shot, asked, ruled]


def index(folder: Path) -> FaissIndex:
    encoder: Encoder = load_encoder("openai/clip-vit-base-patch32", device="cpu", batch_size=8)
    made = FaissIndex.create(folder, encoder.dimension, encoder_fingerprint=encoder.fingerprint)
    made.add([Document("a", "image", path="a.jpg")], encoder.encode_images(["a.jpg"]))
    made.save()
    return FaissIndex.open(folder, mmap=True)


def llama_index(folder: Path) -> list[NodeWithScore]:
    retriever = commonscale.llama_index.StandardizedMultiModalRetriever(
        text_store=SimpleVectorStore(),
        image_store=index(folder),
        embed_model=commonscale.llama_index.CommonscaleEmbedding("openai/clip-vit-base-patch32"),
        similarity_top_k=10,
    )
    retriever.calibrate(["what?"], show_progress=True, method="standardized").save(folder / "calibration.json")
    live = commonscale.llama_index.LiveVectorStore(SimpleVectorStore())
    added: list[str] = live.add([TextNode(text="a", embedding=[1.0])])
    living: commonscale.LivingCalibration = retriever.keep_calibrated(added, method="standardized", capacity=100)
    living = retriever.follow(living)
    living = retriever.keep_loaded(folder / "living.npz")
    put: list[str] = commonscale.llama_index.add_texts(
        SimpleVectorStore(), ["a cat", TextNode(text="a dog")], "folder", ids=["a", "b"], docstore=SimpleDocumentStore()
    )
    put += commonscale.llama_index.add_images(index(folder), [folder / "a.jpg", "b.jpg", b""], "folder", captions=put)
    loaded: dict[str, int] = commonscale.llama_index.add_embedded(index(folder), open_shards(folder), modality="text")
    assert loaded
    retriever.calibrate(["what?"], images=["a.jpg", folder / "b.jpg", b""], method="chance")
    retriever.calibrate_images([QueryBundle("", image_path="a.jpg")], method="standardized", identical=None)
    bank: list[Question] = retriever.embed_questions(["what?"], show_progress=True)
    in_use: JointSearch = retriever.joint_search
    retriever.prior = SelfTaughtPrior.fit(bank, best_scores(in_use, bank))
    by_image = [*retriever.retrieve_image(folder / "a.jpg"), *retriever.image_to_image_retrieve("a.jpg")]
    by_image += [*retriever.image_to_text_retrieve(b""), *retriever.retrieve(QueryBundle("", image_path="a.jpg"))]
    return [*by_image, *retriever.retrieve("what?"), *retriever.retrieve_batch(["what?"])[0]]


def answers_in_llama_index(retriever: BaseRetriever, llm: LLM, folder: Path) -> list[str]:
    budget, pictures = Budget(items=6, minimum={"image": 2}, image_tokens=lambda w, h: w * h // 750), Pictures([folder])
    engine = commonscale.llama_index.create_multimodal_query_engine(
        retriever, llm, budget=budget, pictures=pictures, streaming=True
    )
    preparer = commonscale.llama_index.PromptPreparer(budget, pictures, llm=llm, engine="chat")
    seen: Prompt = preparer.prepare(preparer.postprocess_nodes(retriever.retrieve("what?")))
    memory = Memory.from_defaults(chat_store=commonscale.llama_index.InMemoryChatStore(), token_limit=1_000)
    chat = commonscale.llama_index.create_multimodal_chat_engine(
        retriever, llm, condense=False, budget=budget, memory=memory
    )
    citations: Citations = commonscale.llama_index.citations_of(chat.stream_chat("what?"))
    seen = commonscale.llama_index.prompt_of(chat.chat("what?"))
    synthesizer = commonscale.llama_index.OneCallSynthesizer(llm, commonscale.llama_index.AnswerTemplate("In French."))
    synthesizer.synthesize("what?", preparer.postprocess_nodes(retriever.retrieve("what?")))
    evaluator = commonscale.llama_index.JointRetrieverEvaluator.from_metric_names(["mrr"], retriever=retriever)
    score: float = evaluator.evaluate("what?", ["a"]).metric_vals_dict["mrr"]
    means: dict[str, dict[str, float]] = evaluator.evaluate_dataset({"what?": ["a"]}, workers=2).means
    return [*citations.ids, str(engine.query("what?")), f"{score} {means} {len(seen.sent)}"]


def langchain(folder: Path) -> list[list[str]]:
    retriever = commonscale.langchain.StandardizedMultiModalRetriever(
        store=index(folder), embeddings=commonscale.langchain.CommonscaleEmbeddings("folder"), k=10
    )
    retriever.calibration = Calibration.load(folder / "calibration.json")
    given = commonscale.langchain.CommonscaleEmbeddings("folder")
    live = commonscale.langchain.LiveVectorStore.from_texts(["a"], given, store=InMemoryVectorStore)
    added: list[str] = live.add_texts(["b"], ids=["1"])
    living: commonscale.LivingCalibration = retriever.keep_calibrated(added, method="standardized", capacity=100)
    living = retriever.follow(living)
    living = retriever.keep_loaded(folder / "living.npz")
    put: list[str] = commonscale.langchain.add_texts(index(folder), ["a cat"], "folder", metadatas=[{"page": 1}])
    put += commonscale.langchain.add_images(index(folder), ["a.jpg", folder / "b.jpg"], captions=["a", "b"])
    loaded: dict[str, int] = commonscale.langchain.add_embedded(index(folder), "shards", batch_size=100)
    assert loaded
    retriever.calibrate(["what?"], images=["a.jpg", folder / "b.jpg", b""], method="chance")
    retriever.calibrate_images(["a.jpg"], identical=0.99)
    bank: list[Question] = retriever.embed_questions(["what?"], show_progress=True)
    in_use: JointSearch = retriever.joint_search
    retriever.prior = LabeledPrior.fit(["what?", "who?"], added, encoder=load_encoder("folder")).scaled_to(
        retriever.calibration
    )
    assert in_use.search_batch(bank, 3)
    question: commonscale.langchain.ImageQuestion = commonscale.langchain.ImageQuestion(b"", words="a cat")
    by_image = [retriever.invoke(question), retriever.retrieve_image("a.jpg", k=3), *retriever.batch([question, "a"])]
    assert by_image
    found = [retriever.invoke("what?", k=3, minimum={"image": 1}), *retriever.retrieve_batch(["what?"], k=3)]
    return [[document.page_content for document in documents] for documents in found]


def answers_in_langchain(llm: BaseChatModel, folder: Path) -> list[str]:
    retriever = commonscale.langchain.StandardizedMultiModalRetriever(store=index(folder), k=10)
    budget, pictures = Budget(items=6, minimum={"image": 2}, tokens=8000), Pictures([folder], urls="download")
    keys = commonscale.langchain.ImageKeys(path="file", modality="kind")
    chain = commonscale.langchain.create_multimodal_qa_chain(
        retriever, llm, budget=budget, pictures=pictures, keys=keys, instructions="Answer."
    )
    chat = commonscale.langchain.create_multimodal_chat_chain(retriever, llm, condense_llm=llm, pictures=pictures)
    answer: commonscale.langchain.MultimodalAnswer = chain.invoke("what?")
    later = chat.invoke({"question": "and?", "chat_history": [("human", "what?"), ("ai", answer["answer"])]})
    tool: StructuredTool = commonscale.langchain.create_multimodal_retriever_tool(retriever, "look", "Looks.")
    kept: tuple[type, ...] = commonscale.langchain.ANSWER_TYPES
    assert type(answer["citations"]) in kept
    messages: list[BaseMessage] = commonscale.langchain.pictures_after_tools([HumanMessage(tool.name)])
    documents = [left.item.payload for left in later["left_out"]] + answer["sources"]
    prompt = PromptBuilder(budget, pictures).build(commonscale.langchain.prompt_items(documents, keys))
    blocks = commonscale.langchain.prompt_blocks(prompt)
    blocks += commonscale.langchain.to_content_blocks(documents, pictures=pictures, missing="note")
    return [*answer["citations"].ids, *(block["type"] for block in blocks), *(message.text for message in messages)]


def evaluation(path: Path) -> str:
    results: Results = evaluate_files([path], ["cosine", "chance"])
    comparison: Comparison = compare_files(score_files([path]))[str(path)]
    found: Interval = comparison.differences["image"]["standardized"]["chance"]["mrr@20"]
    means = means_of(score_methods(Benchmark.load(path), ["rrf"]))
    return f"{found.value} {found.low} {found.sign} {results[str(path)] | means}"


def datasets(folder: Path) -> list[str]:
    sets: list[RetrievalDataset] = [MultiModalQA(folder, pictures=folder / "a.zip"), WebQA(folder), UniVLDR(folder)]
    asked: list[DatasetQuestion] = [question for each in sets for question in each.questions(each.evaluation_split)]
    mixed = MixBench(folder).subset("OVEN")
    return [*(question.text for question in asked), *(document.modality for document in mixed.documents())]


def reproduction(folder: Path) -> list[Path]:
    encoder: Encoder = load_encoder("openai/clip-vit-base-patch32")
    sizes = Sizes(pool="context", limit=100, documents=1000)
    run: Path = reproduce("mmqa", folder, folder / "out", encoder, encoder_name="clip", sizes=sizes, progress=True)
    return [run, *write_reproduction(folder / "out")]


def centered(encoder: Encoder, vectors: np.ndarray) -> list[float]:
    centering = Centering.fit(vectors, {"text": vectors, "image": vectors})
    wrapped: Encoder = CenteredEncoder(encoder, centering)
    blended: np.ndarray = CenteredEncoder(wrapped, centering, modality="text").encode_blended(
        ["a"], ["a.jpg"], alpha=0.3
    )
    assert len(blended)
    in_llama = commonscale.llama_index.CenteredEmbedding(encoder, centering)
    in_langchain = commonscale.langchain.CenteredEmbeddings(wrapped, centering)
    rows: list[list[float]] = [
        *in_llama.get_blended_embeddings(["a"], ["a.jpg"]),
        *in_langchain.embed_blended(["a"], [b""]),
    ]
    return rows[0]


def diagnostics(folder: Path, index_: FaissIndex, questions: list[Question]) -> list[str]:
    counts = {modality: len(index_.documents(modality)) for modality in index_.modalities}
    material = Material.of_sources("mine", questions, index_.sources(), counts, documents=1000, seed=1)
    found: Diagnosis = diagnose(Material.of_benchmark(Benchmark.load(folder / "a.npz")), k=5)
    written: list[Path] = write_diagnoses([found, diagnose(material)], folder)
    return [*verdict(found), *map(str, written)]


class OwnAnswerer:
    """The smallest answerer: a name and one method."""

    name = "own"

    def stream(self, request: Request) -> Iterator[str]:
        yield f"{request.question} {request.prompt.tokens} {len(request.history)}"


def answering(search: JointSearch, encoder: Encoder, folder: Path) -> list[str]:
    asked = QuestionAnswering.open(folder, llm="openai:gpt-4.1-mini", limits=Limits(first=30, total=None), k=5)
    asked.answerer = answerer_for(None, {}, base_url="http://localhost:8000/v1")
    chosen: list[Answerer] = [OwnAnswerer(), ChatModelAnswerer.from_name("ollama:llava", temperature=0)]
    own = QuestionAnswering(search, encoder.encode_questions, chosen[0])
    both: Rankings = own.rankings("what?", quotas=commonscale.Quotas(minimum={"image": 1}))
    answer: Answer = own.ask("what?", [Turn("who?", "a dog [1]")], ranking=both.standardized, raw=False)
    events: Iterator[Event] = asked.stream(own.standalone("and now?", [Turn("what?", answer.text)]))
    pieces = [event.answer.text for event in events if isinstance(event, Finished)]
    return [*pieces, *answer.citations.ids, *[left.detail for left in answer.prompt.left_out]]


def answers_of_the_demo(
    finder: BaseRetriever, retriever: commonscale.langchain.StandardizedMultiModalRetriever, path: Path
) -> None:
    llm: LLM = DrawnWorldLLM()
    engine = commonscale.llama_index.create_multimodal_chat_engine(
        finder, llm, instructions=f"{CHAT_INSTRUCTIONS} Rhyme."
    )
    model: BaseChatModel = DrawnWorldChatModel()
    chain = commonscale.langchain.create_multimodal_qa_chain(retriever, model)
    sent = commonscale.llama_index.prompt_of(engine.chat("what?")).sent
    hits = {"raw": [PromptItem("a", "image", picture=path)], "ours": [entry.item for entry in sent]}
    hits_figure(hits, k=3, title=chain.invoke("what?")["answer"], options=ImageOptions()).savefig(path)


def page(folder: Path, model: Answerer) -> None:
    library: Library = open_library(folder, model, encoder=None, device="cpu", folders=[folder])
    handlers = Handlers(library, Patience(remind=5, limit=60), saving=True)
    build_server(build_app(handlers, host="0.0.0.0", password="secret", parallel=8), "0.0.0.0", 7860).run()


async def answering_async(asked: QuestionAnswering, model: LlamaIndexAnswerer) -> str:
    native: AsyncAnswerer = model
    condenser: Condenser = model
    asked.answerer = native
    async for event in asked.astream(condenser.condense("and now?", [Turn("what?", "a dog")])):
        if isinstance(event, Finished):
            return event.answer.text
    return (await asked.aask("what?")).text


def prompting(tokenize: Callable[[str], list[int]]) -> list[str | PreparedPicture]:
    items = [PromptItem("a", "text", neutralize("words")), PromptItem("b", "image", picture=b"", payload=1)]
    rule: PictureRule | None = rule_of("openai:gpt-4.1")
    own = Budget(image_tokens=lambda width, height: width * height / 1000, text_tokens=tokenize, item_tokens=300)
    by_rule = Budget(items=5, minimum={"image": 1}, image_tokens=rule or PICTURE_RULES["flat"], text_tokens=len)
    prompts = [PromptBuilder(budget).build(items) for budget in (own, by_rule, Budget(image_tokens="gpt-4.1"))]
    citations: Citations = parse_citations("Red [1].", prompts[0])
    marks: tuple[Mark, ...] = citations.marks
    reasons = [f"{left.item.id} {left.reason.value} {left.detail}" for left in prompts[0].left_out]
    notes = [sent.note for sent in prompts[0].sent if sent.cut]
    answer = strip_citations(strip_unknown("Red [1].", citations))
    return [answer, *reasons, *notes, *map(str, marks), *user_parts(prompts[1], "What is red?")]


def pictures(folder: Path) -> tuple[bytes | None, str | None, int | None, str]:
    made = Pictures([folder], urls="download", max_side=1568, cached=10, options=ImageOptions(timeout=5.0))
    ahead: list[PreparedPicture | ImageError | None] = made.prepare_all([b"", "a.jpg", folder / "b.jpg"])
    assert len(ahead) == 3
    prepared: PreparedPicture = made.prepare("https://example.org/a.jpg")
    return prepared.content, prepared.mime_type, prepared.width, prepared.data_uri
