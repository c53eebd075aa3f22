using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace FedICU.Tests.Architecture;

/// <summary>
/// A type of a project, with its namespace and the file that declares it (a path from the project's folder).
/// </summary>
internal sealed record DeclaredType(string Name, string Namespace, string File, bool IsPublic, bool IsPartial);

/// <summary>A use of a symbol in one file that another file declares.</summary>
internal sealed record SourceReference(string From, string To, string Symbol);

/// <summary>
/// The types of a project and the references between its files, read from the sources by the compiler. The compiled
/// assembly would not do: it names no files, and constants leave no trace in it.
/// </summary>
internal sealed class SourceMap
{
    private const string ImplicitUsings =
        "global using System; global using System.IO; global using System.Linq; global using System.Collections.Generic;" +
        "global using System.Threading; global using System.Threading.Tasks;";

    private static readonly CSharpParseOptions Parsing = new(LanguageVersion.Preview);

    private SourceMap(IReadOnlyList<DeclaredType> types, IReadOnlyList<SourceReference> references) =>
        (Types, References) = (types, references);

    public IReadOnlyList<DeclaredType> Types { get; }

    public IReadOnlyList<SourceReference> References { get; }

    /// <summary>Reads a project's sources.</summary>
    /// <param name="folder">The project's folder.</param>
    public static SourceMap Read(string folder)
    {
        SyntaxTree[] trees = [.. SourceFiles(folder).Select(file => Parse(folder, file))];
        // the test's own references, without the project that is read
        IEnumerable<MetadataReference> libraries = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(path => !Path.GetFileName(path).StartsWith("FedICU.", StringComparison.Ordinal))
            .Select(path => MetadataReference.CreateFromFile(path));
        var compilation = CSharpCompilation.Create(
            "sources", [.. trees, CSharpSyntaxTree.ParseText(ImplicitUsings, Parsing)], libraries,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true));
        var references = new HashSet<SourceReference>();
        foreach (SyntaxTree tree in trees)
            references.UnionWith(ReferencesOf(tree, compilation.GetSemanticModel(tree)));
        return new SourceMap([.. trees.SelectMany(TypesOf)], [.. references]);
    }

    /// <summary>The types that a project's files declare, without the references between them.</summary>
    public static IReadOnlyList<DeclaredType> TypesIn(string folder) => [.. SourceFiles(folder)
        .SelectMany(file => TypesOf(Parse(folder, file)))];

    private static SyntaxTree Parse(string folder, string file) =>
        CSharpSyntaxTree.ParseText(File.ReadAllText(file), Parsing, Path.GetRelativePath(folder, file));

    private static IEnumerable<string> SourceFiles(string folder) => Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories)
        .Where(file => !Path.GetRelativePath(folder, file).Split(Path.DirectorySeparatorChar).Any(part => part is "obj" or "bin"))
        .Order(StringComparer.Ordinal);

    private static IEnumerable<DeclaredType> TypesOf(SyntaxTree tree)
    {
        foreach (MemberDeclarationSyntax type in tree.GetRoot()
            .DescendantNodes(node => node is CompilationUnitSyntax or BaseNamespaceDeclarationSyntax)
            .OfType<MemberDeclarationSyntax>().Where(member => member is BaseTypeDeclarationSyntax or DelegateDeclarationSyntax))
        {
            string name = (type as BaseTypeDeclarationSyntax)?.Identifier.Text ?? ((DelegateDeclarationSyntax)type).Identifier.Text;
            string space = type.Ancestors().OfType<BaseNamespaceDeclarationSyntax>().FirstOrDefault()?.Name.ToString() ?? "";
            yield return new DeclaredType(
                name, space, tree.FilePath, type.Modifiers.Any(SyntaxKind.PublicKeyword), type.Modifiers.Any(SyntaxKind.PartialKeyword));
        }
    }

    private static IEnumerable<SourceReference> ReferencesOf(SyntaxTree tree, SemanticModel model)
    {
        foreach (SimpleNameSyntax name in tree.GetRoot().DescendantNodes().OfType<SimpleNameSyntax>())
        {
            SymbolInfo info = model.GetSymbolInfo(name);
            ISymbol? symbol = info.Symbol ?? info.CandidateSymbols.FirstOrDefault();
            if (symbol is IMethodSymbol { ReducedFrom: { } extension })
                symbol = extension;
            if (symbol is not (INamedTypeSymbol or { ContainingType: not null }))
                continue;
            foreach (SyntaxReference declaration in symbol.OriginalDefinition.DeclaringSyntaxReferences)
            {
                string file = declaration.SyntaxTree.FilePath;
                // a partial type is at home in the file of its name; TensorSource.Open.cs only adds to it
                bool isAddition = symbol is INamedTypeSymbol && Path.GetFileNameWithoutExtension(file).Contains('.');
                if (file.Length > 0 && file != tree.FilePath && !isAddition)
                    yield return new SourceReference(tree.FilePath, file, (symbol as INamedTypeSymbol ?? symbol.ContainingType!).Name);
            }
        }
    }
}
