using System.Runtime.CompilerServices;

namespace FedICU.Cli.Tests;

/// <summary>Adds the strategies of FedICU.Lora before tests list the registry's.</summary>
internal static class LoraRegistration
{
#pragma warning disable CA2255 // sources of test cases run before any set-up of the test framework
    [ModuleInitializer]
#pragma warning restore CA2255
    public static void Register() => LoraStrategies.AddToDefault();
}
