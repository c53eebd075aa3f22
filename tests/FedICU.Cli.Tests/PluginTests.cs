using System.Reflection;
using System.Reflection.Emit;

namespace FedICU.Cli.Tests;

/// <summary>Runs commands with <c>--plugin</c>.</summary>
public sealed class PluginTests
{
    private static readonly string Plugin = typeof(TestPlugin).Assembly.Location;

    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void AStrategyOfAPluginRuns([Values] bool inProcess)
    {
        string[] line = [.. Round("test-first", "a=" + _place.A, "b=" + _place.B), "--set", "factor=2", "--plugin", Plugin];
        (inProcess ? Tool.Run(line) : Tool.RunProcess(line)).Succeeded();
        Assert.That(
            Place.Read<float>(_place["out.safetensors"], Place.Weight),
            Is.EqualTo(Place.Read<float>(_place.A, Place.Weight).Select(value => 2 * value)));
        // the registry of the process has no strategies of a run
        Tool.Run(Round("test-first", _place.A)).Failed(2, "'test-first' is unknown");
    }

    [Test]
    public void APluginsStrategyIsPartOfACompositionAndExplained()
    {
        Tool.Run([.. Round("test-first,fedadam", _place.A), "--plugin", Plugin]).Succeeded();
        Tool.Run("explain", "--strategy", "test-first", "--global", _place.Global, "--client", _place.A, "--plugin", Plugin).Succeeded();
    }

    [Test]
    public void APluginsStrategiesAreListed()
    {
        Assert.That(Tool.Run("strategies", "--plugin", Plugin).Succeeded().Output, Does.Contain("test-first"));
        Run run = Tool.Run("strategies", "test-first", "--plugin", Plugin).Succeeded();
        Assert.That(run.Cells("factor"), Is.EqualTo((string[])["factor", "number", "1", "What the parameters are multiplied by."]));
        Assert.That(run.Lines, Does.Contain("stage: merge").And.Contain("state: none"));
        Tool.Run("strategies", "test-unreadable", "--plugin", Plugin).Failed(1, Plugin, "no options");
    }

    [Test]
    public void WhatAPluginThrowsIsReportedWithItsFile()
    {
        _place.Write("out.safetensors", Place.Like());
        _place.AssertRefused([.. Round("test-throwing", _place.A), "--plugin", Plugin], Plugin, "InvalidOperationException: no merge");
        _place.AssertRefused([.. Round("test-unreadable", _place.A), "--plugin", Plugin], Plugin, "InvalidOperationException: no options");
        _place.AssertRefused(
            [.. Round("fedavg", _place.A), "--plugin", Plugin, "--plugin", Plugin], Plugin, "'test-first' is registered already");
    }

    [Test]
    public void APluginThatCannotBeUsedIsRefused()
    {
        Refused(_place["none.dll"], "does not exist");
        Refused(_place.Write("text.dll", "no assembly"), "is no .NET assembly");
        Refused("", "a path was expected");
        Refused(Emit("empty.dll", null), "has no public IStrategyPlugin");
        Refused(
            Emit("throwing.dll", il =>
            {
                il.Emit(OpCodes.Ldstr, "no luck");
                il.Emit(OpCodes.Newobj, typeof(InvalidOperationException).GetConstructor([typeof(string)])!);
                il.Emit(OpCodes.Throw);
            }),
            "InvalidOperationException: no luck");
        Refused(
            Emit("known.dll", il =>
            {
                // registry.Add(registry.Find("krum"))
                il.Emit(OpCodes.Ldarg_1);
                il.Emit(OpCodes.Ldarg_1);
                il.Emit(OpCodes.Ldstr, "krum");
                il.Emit(OpCodes.Callvirt, typeof(StrategyRegistry).GetMethod(nameof(StrategyRegistry.Find))!);
                il.Emit(OpCodes.Callvirt, typeof(StrategyRegistry).GetMethod(nameof(StrategyRegistry.Add))!);
                il.Emit(OpCodes.Ret);
            }),
            "The strategy 'krum' is registered already.");

        void Refused(string plugin, string sentence)
        {
            _place.AssertRefused([.. Round("fedavg", _place.A), "--plugin", plugin], "--plugin", $"'{plugin}'", sentence);
            _place.AssertRefused(["strategies", "--plugin", plugin], sentence);
        }
    }

    private string[] Round(string strategy, params string[] clients) => _place.RoundLine(clients, strategy: strategy);

    /// <summary>
    /// Writes an assembly with a plug-in whose <c>Register</c> has this body; null: without a plug-in.
    /// </summary>
    private string Emit(string name, Action<ILGenerator>? register)
    {
        var assembly = new PersistedAssemblyBuilder(new AssemblyName(Path.GetFileNameWithoutExtension(name)), typeof(object).Assembly);
        ModuleBuilder module = assembly.DefineDynamicModule("main");
        TypeBuilder type = module.DefineType("Plugin", TypeAttributes.Public | TypeAttributes.Class);
        if (register is not null)
        {
            type.AddInterfaceImplementation(typeof(IStrategyPlugin));
            MethodBuilder method = type.DefineMethod(
                nameof(IStrategyPlugin.Register), MethodAttributes.Public | MethodAttributes.Virtual, typeof(void),
                [typeof(StrategyRegistry)]);
            register(method.GetILGenerator());
        }

        type.CreateType();
        assembly.Save(_place[name]);
        return _place[name];
    }
}
